"""The one assembly of a process's telemetry: structured log, handlers, publisher and spill, for robot, relay,
supervisor and parent.

What an event means is not known here. Events of other processes are read elsewhere (deploy/attach/events.py).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final, NamedTuple

import redis.asyncio

from broker.streams.connection import DataClient
from broker.streams.keys import Keys
from broker.streams.run.events import BlockingEventLog, StreamEventLog
from telemetry.clock import SystemClock
from telemetry.events import AnyEvent, ServerForgot
from telemetry.handlers.log import StructuredLog, log_to_stderr
from telemetry.pipeline import Emitter, Handler, Next, Pipeline
from telemetry.stream.feed import EventLog
from telemetry.stream.publisher import Publisher
from telemetry.stream.spill import spill_for

_PUBLISH_S: Final = 0.05  # between two batches of a process without an event loop
_PUBLISH_ASYNC_S: Final = 0.1


class Telemetry:
    """The telemetry of one process without an event loop. Its events are known as those of `source`.

    They pass through the `handlers`, and are stored in the run's stream of events batch by batch. While the server is
    away, batches wait in memory. Nothing blocks except `publish`.
    """

    def __init__(
        self,
        client: DataClient,
        run: str,
        source: str,
        incarnation: int,
        *handlers: Handler,
        spills: bool = False,
    ) -> None:
        """`spills`: whether a file takes what memory has no room for, and what is left at the end."""
        self._publisher = Publisher(spill_for(run, source) if spills else None)
        sink = Pipeline(*handlers, self._publisher)
        self._emitter = Emitter(run, source, incarnation, SystemClock(), sink)
        self._events = BlockingEventLog(client, Keys(run).events)
        self._published_s = 0.0

    def emit(self, event: AnyEvent) -> None:
        """Stamp an event, give it to the handlers, and keep it for the next batch."""
        self._emitter.emit(event)

    def emit_and_publish(self, event: AnyEvent) -> None:
        """The same; the next batch is stored at once if it is due."""
        self._emitter.emit(event)
        self.publish_if_due()

    def publish(self) -> None:
        """Store all that is kept. While the server is away, nothing is lost: it is kept for the next call. When the
        server came back without what it had stored from here, an event reports that."""
        self._publisher.flush_blocking(self._events.append)
        if self._events.take_forgotten():
            self._emitter.emit(ServerForgot("events"))
            self._publisher.flush_blocking(self._events.append)
        self._published_s = time.monotonic()

    def publish_if_due(self) -> None:
        """The same, unless the last batch was stored just now."""
        if time.monotonic() - self._published_s >= _PUBLISH_S:
            self.publish()

    def close(self) -> None:
        """Publish what is left; what the server does not take is spilled."""
        self.publish()
        self._publisher.spill()


@contextmanager
def instrumented(
    client: DataClient, run: str, source: str, incarnation: int = 1, *, logged_seed: int | None = None
) -> Iterator[Telemetry]:
    """The telemetry of this process within the block. At the end all events are stored, or spilled.

    With the run's seed as `logged_seed`, notable events are written to standard error, too."""
    handlers = () if logged_seed is None else (_log(logged_seed),)
    telemetry = Telemetry(client, run, source, incarnation, *handlers, spills=True)
    try:
        yield telemetry
    finally:
        telemetry.close()


class Instruments(NamedTuple):
    """Of a process with an event loop: the sink of its stamped events, how its log learns the run's seed, and whether
    the server was found, since the last call, to have forgotten events that it had stored from here."""

    sink: Next
    identify: Callable[[int], None]
    has_server_forgotten: Callable[[], bool]


@asynccontextmanager
async def instrumented_async(client: redis.asyncio.Redis, run: str, source: str) -> AsyncIterator[Instruments]:
    """The telemetry of this process, which has an event loop, within the block.

    Notable events are written to standard error. At the end all events are stored, or spilled."""
    publisher, over = Publisher(spill_for(run, source)), asyncio.Event()
    events = StreamEventLog(client, Keys(run).events)
    publishing = asyncio.get_running_loop().create_task(publish_until(publisher, events, over))
    try:
        log = _log()
        yield Instruments(Pipeline(log, publisher), log.identify, events.take_forgotten)
    finally:
        over.set()
        await publishing


async def publish_until(publisher: Publisher, events: EventLog, over: asyncio.Event) -> None:
    """Store events as they come, and at the end what is left, in a file if need be. This task is never cancelled."""
    while not over.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), _PUBLISH_ASYNC_S)
        await publisher.flush(events.append)
    publisher.spill()


def _log(seed: int | None = None) -> StructuredLog:
    log_to_stderr()
    return StructuredLog(seed)
