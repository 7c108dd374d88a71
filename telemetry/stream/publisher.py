"""Collects events into batches for the run's stream of events. Nothing blocks: while the stream is away they wait in
memory, then in a file if there is one; what even that does not take is counted, and told.
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
CHANNEL: Final = "events"  # what the queue is called where its overflow is told
encode_events = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(list[Stamped])


def decode_events(frame: bytes) -> list[Stamped]:
    """The batch in an entry of the stream. Raises msgspec.DecodeError on garbage."""
    return _decoder.decode(frame)


class Spill(Protocol):
    """Where batches wait that memory has no room for: first in, first out (telemetry/stream/spill.py)."""

    def put(self, frame: bytes) -> bool:
        """Keep a batch behind all others; False: it cannot be kept."""
        ...

    def frames(self) -> Iterator[bytes]:
        """What is kept, oldest first. A batch is forgotten when the one after it is asked for."""
        ...


class Publisher:
    """A bounded queue of events, emptied by `flush`: in order, and each once unless a batch was on its way when memory
    was full (readers know events by their numbers).

    When it is full, all that waits goes into the spill. Without one, or when that takes nothing, what comes is dropped,
    and in the place (and under the number) of the last event that was dropped stands a `ChannelPressure` that counts
    all of them: the loss is told where it happened, once the stream is back.
    """

    def __init__(self, spill: Spill | None = None) -> None:
        self._waiting: deque[Stamped] = deque()  # younger than all that was spilled
        self._on_the_way = 0  # of those that wait, the first so many
        self._overflowed = 0  # events that were dropped
        self._spill = spill
        self._is_spill_full = False  # or cannot be written: not worth another try before something was stored

    def handle(self, stamped: Stamped, following: Next) -> None:
        if len(self._waiting) < ROOM or self._make_room():
            self._waiting.append(stamped)
        else:
            self._drop(stamped)
        following(stamped)

    async def flush(self, append: Callable[[bytes], Awaitable[bool]]) -> None:
        """Give what waits to `append`, batch by batch, until nothing waits or a batch is not stored."""
        for frame in self._frames():
            if not await append(frame):
                return

    def flush_blocking(self, append: Callable[[bytes], bool]) -> None:
        """The same for a process without an event loop."""
        for frame in self._frames():
            if not append(frame):
                return

    def spill(self) -> None:
        """Move what waits in memory into the spill, as far as it takes it: for a process that ends, too."""
        while self._spill is not None and self._waiting:
            batch = self._oldest()
            self._is_spill_full = not self._spill.put(encode_events(batch))
            if self._is_spill_full:
                return
            self._on_the_way = 0  # it is stored where it was going, or else from the spill
            self._forget(len(batch))

    def _frames(self) -> Iterator[bytes]:
        """What waits, oldest first. Whoever asks for the next one has stored the one before."""
        while True:
            if self._spill is not None:
                for frame in self._spill.frames():
                    yield frame
                    self._is_spill_full = False
            if not self._waiting:
                return
            batch = self._oldest()
            self._on_the_way = len(batch)
            yield encode_events(batch)
            self._is_spill_full = False
            self._forget(self._on_the_way)

    def _make_room(self) -> bool:
        if not self._is_spill_full:
            self.spill()
        return len(self._waiting) < ROOM

    def _drop(self, stamped: Stamped) -> None:
        if _tells_of_drops(self._waiting[-1]):
            self._waiting.pop()
        self._overflowed += 1
        self._waiting.append(msgspec.structs.replace(stamped, event=ChannelPressure(CHANNEL, self._overflowed)))

    def _oldest(self) -> list[Stamped]:
        return list(islice(self._waiting, BATCH))

    def _forget(self, count: int) -> None:
        for _ in range(count):
            self._waiting.popleft()


def _tells_of_drops(stamped: Stamped) -> bool:
    return isinstance(stamped.event, ChannelPressure) and stamped.event.channel == CHANNEL
