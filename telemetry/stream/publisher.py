"""Publishes events to the run's stream, in batches. It never blocks: while the stream is away, events wait in memory,
then in a file if there is one; events that even the file does not take are dropped, counted and reported.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from typing import Final, Protocol

import msgspec

from telemetry.events import ChannelPressure, Stamped
from telemetry.pipeline import Next

BATCH: Final = 512  # events in one entry of the stream
ROOM: Final = 100_000  # events kept while the stream is away; the busiest robot makes some 1,000 a second
CHANNEL: Final = "events"  # the queue's name in the report of its overflow
encode_events = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(list[Stamped])


def decode_events(frame: bytes) -> list[Stamped]:
    """The batch in an entry of the stream. Raises msgspec.DecodeError on garbage."""
    return _decoder.decode(frame)


class Spill(Protocol):
    """A queue of batches outside of memory: first in, first out (telemetry/stream/spill.py)."""

    def put(self, frame: bytes) -> bool:
        """Keep a batch behind all others; False: it cannot be kept."""
        ...

    def frames(self) -> Iterator[bytes]:
        """The kept batches, oldest first. Each is removed when the next one is requested."""
        ...


class Publisher:
    """A bounded queue of events, emptied by `flush`: in order, and each once, unless a batch was being sent when memory
    was full (readers drop duplicates by number).

    When it is full, all waiting events go into the spill. Without a spill, or when it is full too, new events are
    dropped. A `ChannelPressure` with the count of all dropped events takes the place (and the number) of the last one,
    so that readers see the loss where it happened, once the stream is back.
    """

    def __init__(self, spill: Spill | None = None) -> None:
        self._waiting: deque[Stamped] = deque()  # newer than all spilled events
        self._in_flight = 0  # how many of the first waiting events are being sent
        self._overflowed = 0  # events that were dropped
        self._spill = spill
        self._is_spill_full = False  # or cannot be written; tried again only after a batch was stored

    def handle(self, stamped: Stamped, following: Next) -> None:
        if len(self._waiting) < ROOM or self._make_room():
            self._waiting.append(stamped)
        else:
            self._drop(stamped)
        following(stamped)

    async def flush(self, append: Callable[[bytes], Awaitable[bool]]) -> None:
        """Pass the waiting events to `append`, batch by batch, until none waits or a batch is not stored."""
        for frame in self._frames():
            if not await append(frame):
                return

    def flush_blocking(self, append: Callable[[bytes], bool]) -> None:
        """The same for a process without an event loop."""
        for frame in self._frames():
            if not append(frame):
                return

    def spill(self) -> None:
        """Move the waiting events into the spill, as far as it has room; also for a process that ends."""
        while self._spill is not None and self._waiting:
            batch = self._oldest()
            self._is_spill_full = not self._spill.put(encode_events(batch))
            if self._is_spill_full:
                return
            self._in_flight = 0  # it is in the spill now, even if the stream stores it too
            self._forget(len(batch))

    def _frames(self) -> Iterator[bytes]:
        """The waiting batches, oldest first. A request for the next one means that the one before was stored."""
        while True:
            if self._spill is not None:
                for frame in self._spill.frames():
                    yield frame
                    self._is_spill_full = False
            if not self._waiting:
                return
            batch = self._oldest()
            self._in_flight = len(batch)
            yield encode_events(batch)
            self._is_spill_full = False
            self._forget(self._in_flight)

    def _make_room(self) -> bool:
        if not self._is_spill_full:
            self.spill()
        return len(self._waiting) < ROOM

    def _drop(self, stamped: Stamped) -> None:
        if _is_overflow_report(self._waiting[-1]):
            self._waiting.pop()
        self._overflowed += 1
        self._waiting.append(msgspec.structs.replace(stamped, event=ChannelPressure(CHANNEL, self._overflowed)))

    def _oldest(self) -> list[Stamped]:
        return list(islice(self._waiting, BATCH))

    def _forget(self, count: int) -> None:
        for _ in range(count):
            self._waiting.popleft()


def _is_overflow_report(stamped: Stamped) -> bool:
    return isinstance(stamped.event, ChannelPressure) and stamped.event.channel == CHANNEL
