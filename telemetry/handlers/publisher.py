"""Collects events into batches for the run's stream of events. Nothing blocks: overflow is counted."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from telemetry.events import Stamped
from telemetry.pipeline import Next

BATCH: Final = 512  # events in one entry of the stream
ROOM: Final = 100_000  # events kept while the stream is away; the busiest robot makes some 1,000 a second

encode_events = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(list[Stamped])


def decode_events(frame: bytes) -> list[Stamped]:
    """The batch in an entry of the stream. Raises msgspec.DecodeError on garbage."""
    return _decoder.decode(frame)


class Publisher:
    """A bounded queue of events, emptied by `flush`. `overflowed` counts events that were dropped."""

    def __init__(self) -> None:
        self.overflowed = 0
        self._waiting: deque[Stamped] = deque()

    def handle(self, stamped: Stamped, following: Next) -> None:
        if len(self._waiting) >= ROOM:
            self._waiting.popleft()
            self.overflowed += 1
        self._waiting.append(stamped)
        following(stamped)

    async def flush(self, append: Callable[[bytes], Awaitable[bool]]) -> None:
        """Give what waits to `append`, batch by batch, until nothing waits or a batch is not stored."""
        while batch := self._take():
            if not await append(encode_events(batch)):
                self._waiting.extendleft(reversed(batch))
                return

    def flush_blocking(self, append: Callable[[bytes], bool]) -> None:
        """The same for a process without an event loop."""
        while batch := self._take():
            if not append(encode_events(batch)):
                self._waiting.extendleft(reversed(batch))
                return

    def _take(self) -> list[Stamped]:
        return [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
