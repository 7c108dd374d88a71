"""A relay as a process of its own: how it starts, which events it emits, and when it ends. What it carries is decided
in broker/streams/relay/driver.py.

Three kinds: the relay of one shard, which its parent starts, ends (SIGTERM) and starts again, and which drains; a
standby relay, which a person starts on any host, and which leaves when the run is stopped; and one that only drains.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Final

from broker.errors import Unavailable
from broker.relay.core import NewCore
from broker.streams.connection import DataClient, connect
from broker.streams.outage import ServerWatch
from broker.streams.relay.driver import RelayDriver, Shutdown
from broker.streams.run.runs import read_run_status
from deploy.attach.holders import new_token, nonce_in
from deploy.instrumentation import instrumented
from telemetry.events import AnyEvent

_POLL_S: Final = 0.25  # of a standby relay, of the run's orders
Emit = Callable[[AnyEvent], None]


def relay(
    url: str, run: str, shard: int, new_core: NewCore, incarnation: int, holder: str, seed: int, stopping: bool = False
) -> int:
    """Relay until SIGTERM (not even that long if `stopping`), then until nothing is left; the exit status, 0.

    `incarnation` numbers the lives of this shard's relay 1, 2, 3 …: its events are known by it. All of them have the
    same `holder`, so that each takes the shard over from the one before at once. `seed` is the run's, for the log.
    Raises Unavailable when the server is away at the end.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    with (
        connect(url) as client,
        instrumented(client, run, f"relay:{shard}", incarnation, logged_seed=seed) as telemetry,
    ):

        def is_over() -> bool:
            telemetry.publish_if_due()
            return stopping

        RelayDriver(url, run, (shard,), new_core, telemetry.emit_and_publish, holder=holder).run(is_over)
    return 0


def standby(
    url: str,
    run: str,
    shards: tuple[int, ...],
    new_core: NewCore,
    stopping: Callable[[], bool],
    on_event: Emit,
    watch: ServerWatch,
) -> None:
    """Relay the first of `shards` that is free, until `stopping()` or the order `stop`; it does not drain.

    `on_event` gets every event, too; `watch` decides when the server is gone. Raises ServerGone, and Unavailable when
    the run is gone.
    """
    holder = new_token(os.getpid())
    with connect(url) as client, instrumented(client, run, f"standby:{nonce_in(holder)}") as telemetry:

        def emit(event: AnyEvent) -> None:
            telemetry.emit_and_publish(event)
            on_event(event)

        run_is_over = _RunIsOver(client, run, watch)

        def is_over() -> bool:
            telemetry.publish_if_due()
            return stopping() or run_is_over()

        RelayDriver(url, run, shards, new_core, emit, holder=holder, shutdown=Shutdown(drains=False)).run(is_over)


def drain(url: str, run: str, shards: Iterable[int], new_core: NewCore, may_wait: Callable[[], bool]) -> list[int]:
    """Empty the outboxes of `shards` when no robot sends any more. A relay that still holds one is waited for as long
    as `may_wait()`. The shards that were held to the end. Raises Unavailable."""
    holder = new_token(os.getpid())
    with connect(url) as client, instrumented(client, run, f"drainer:{nonce_in(holder)}") as telemetry:
        emit = telemetry.emit_and_publish
        shutdown = Shutdown(may_wait=may_wait)
        return [
            shard
            for shard in shards
            if not RelayDriver(url, run, (shard,), new_core, emit, holder=holder, shutdown=shutdown).run(lambda: True)
        ]


class _RunIsOver:
    """Whether the run was stopped, or is gone from its server; polled every `_POLL_S`. Raises ServerGone; a shorter
    outage changes nothing."""

    def __init__(self, client: DataClient, run: str, watch: ServerWatch) -> None:
        self._watch = watch
        self._client = client
        self._run = run
        self._answer = False
        self._polled_s = time.monotonic()

    def __call__(self) -> bool:
        now_s = time.monotonic()
        if not self._answer and now_s - self._polled_s >= _POLL_S:
            self._polled_s = now_s
            try:
                run_status = read_run_status(self._client, self._run, retry_s=0)
            except Unavailable:
                self._watch.silent()
                return False
            self._watch.answered()
            self._answer = run_status is None or run_status.stop is not None
        return self._answer
