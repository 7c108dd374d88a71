"""One shard's relay as a process: the driver, its events, and SIGTERM as the order to drain and end."""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Final

from broker.streams.connection import connect
from broker.streams.event_source import append_events
from broker.streams.keys import Keys
from broker.streams.relay import RelayProcess
from telemetry.clock import SystemClock
from telemetry.events import AnyEvent
from telemetry.handlers.publisher import Publisher
from telemetry.handlers.structured_log import StructuredLog, log_to_stderr
from telemetry.pipeline import Emitter, Pipeline

_PUBLISH_EVERY_S: Final = 0.05


def relay(url: str, run: str, shard: int, seed: int, incarnation: int, stopping: bool = False) -> int:
    """Relay until SIGTERM (not even that long if `stopping`), then until nothing is left; the exit status, 0.

    `incarnation` numbers the lives of this shard's relay 1, 2, 3 …: its events are known by it. Raises Unavailable
    when the server is away at the end.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    log_to_stderr()
    with connect(url) as client:
        publisher = Publisher()
        emitter = Emitter(run, f"relay:{shard}", incarnation, SystemClock(), Pipeline(StructuredLog(), publisher))
        published = 0.0

        def publish() -> None:
            publisher.flush_blocking(lambda frame: append_events(client, Keys(run).events, frame))

        def tell(event: AnyEvent) -> None:
            nonlocal published
            emitter.emit(event)
            if time.monotonic() - published >= _PUBLISH_EVERY_S:
                publish()
                published = time.monotonic()

        try:
            RelayProcess(url, run, shard, seed, tell).run(lambda: stopping)
        finally:
            publish()
    return 0
