"""A relay as a process of its own: its events, and when it is over. What it carries, broker/streams/relay/driver.py
knows.

Two kinds: the relay of one shard, which its parent starts, ends (SIGTERM) and starts again, and which drains; and a
volunteer, which anybody starts on any host, and which leaves when the run is stopped.
"""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Final

import redis

from broker.errors import Unavailable
from broker.streams.connection import connect
from broker.streams.keys import Keys
from broker.streams.relay.driver import RelayDriver, Shutdown
from broker.streams.run.events import append_events
from broker.streams.run.runs import read_run_status
from telemetry.clock import SystemClock
from telemetry.events import AnyEvent
from telemetry.handlers.log import StructuredLog, log_to_stderr
from telemetry.pipeline import Emitter, Handler, Pipeline
from telemetry.stream.publisher import Publisher
from telemetry.stream.spill import spill_for

_PUBLISH_EVERY_S: Final = 0.05
_LOOK_EVERY_S: Final = 0.25  # of a volunteer, at the run's orders
Tell = Callable[[AnyEvent], None]


def relay(url: str, run: str, shard: int, seed: int, incarnation: int, holder: str, stopping: bool = False) -> int:
    """Relay until SIGTERM (not even that long if `stopping`), then until nothing is left; the exit status, 0.

    `incarnation` numbers the lives of this shard's relay 1, 2, 3 …: its events are known by it. All of them have the
    same `holder`, so that each takes the shard over from the one before at once. Raises Unavailable when the server is
    away at the end.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    log_to_stderr()
    with connect(url) as client, _telling(client, run, f"relay:{shard}", incarnation, StructuredLog()) as telling:

        def is_over() -> bool:
            telling.publish_now_and_then()
            return stopping

        RelayDriver(url, run, (shard,), seed, telling.tell, holder=holder).run(is_over)
    return 0


def standby(url: str, run: str, shards: tuple[int, ...], seed: int, stopping: Callable[[], bool], heard: Tell) -> None:
    """Relay one of `shards`, whichever is free first, until `stopping()` or the order `stop`; others drain.

    `heard` is told every event. Raises Unavailable when the server is gone.
    """
    holder = secrets.token_hex(8)
    with connect(url) as client, _telling(client, run, f"volunteer:{holder}", 1) as telling:

        def emit(event: AnyEvent) -> None:
            telling.tell(event)
            heard(event)

        run_is_over = _RunIsOver(client, run)

        def is_over() -> bool:
            telling.publish_now_and_then()
            return stopping() or run_is_over()

        RelayDriver(url, run, shards, seed, emit, holder=holder, shutdown=Shutdown(drains=False)).run(is_over)


def drain(url: str, run: str, shards: Iterable[int], seed: int, may_wait: Callable[[], bool]) -> list[int]:
    """Empty the outboxes of `shards`, for when nobody sends any more; a relay that still holds one is waited for as
    long as `may_wait()`. Those that were held to the end. Raises Unavailable."""
    holder = secrets.token_hex(8)
    with connect(url) as client, _telling(client, run, f"drainer:{holder}", 1) as telling:
        return [
            shard
            for shard in shards
            if not RelayDriver(
                url, run, (shard,), seed, telling.tell, holder=holder, shutdown=Shutdown(may_wait=may_wait)
            ).run(lambda: True)
        ]


class _RunIsOver:
    """Whether the run was stopped, or is gone from its server; asked for now and then. While the server is away, nobody
    knows."""

    def __init__(self, client: redis.Redis, run: str) -> None:
        self._client = client
        self._run = run
        self._answer = False
        self._looked_s = time.monotonic()

    def __call__(self) -> bool:
        now_s = time.monotonic()
        if not self._answer and now_s - self._looked_s >= _LOOK_EVERY_S:
            self._looked_s = now_s
            with suppress(Unavailable):
                run_status = read_run_status(self._client, self._run, retry_s=0)
                self._answer = run_status is None or run_status.stop is not None
        return self._answer


class _Telling:
    """Events on their way to `handlers` and into the run's stream of events, in batches: one may wait there until it is
    asked again to `publish_now_and_then`, at rest too."""

    def __init__(self, client: redis.Redis, run: str, source: str, incarnation: int, *handlers: Handler) -> None:
        self._publisher = Publisher(spill_for(run, source))
        self._emitter = Emitter(run, source, incarnation, SystemClock(), Pipeline(*handlers, self._publisher))
        self._append = partial(append_events, client, Keys(run).events)
        self._published_s = 0.0

    def tell(self, event: AnyEvent) -> None:
        self._emitter.emit(event)
        self.publish_now_and_then()

    def publish_now_and_then(self) -> None:
        if time.monotonic() - self._published_s >= _PUBLISH_EVERY_S:
            self.publish()

    def publish(self) -> None:
        """Nothing is lost when the server is away: it is kept for the next time."""
        self._publisher.flush_blocking(self._append)
        self._published_s = time.monotonic()

    def end(self) -> None:
        """Publish what is left; what cannot be is spilled."""
        self.publish()
        self._publisher.spill()


@contextmanager
def _telling(client: redis.Redis, run: str, source: str, incarnation: int, *handlers: Handler) -> Iterator[_Telling]:
    """Events can be told within; at the end all are published."""
    telling = _Telling(client, run, source, incarnation, *handlers)
    try:
        yield telling
    finally:
        telling.end()
