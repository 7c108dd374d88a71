"""Collects events into batches for the run's stream of events. Nothing blocks: overflow is counted, and told."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

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


class Publisher:
    """A bounded queue of events, emptied by `flush`.

    When it is full, what comes is dropped, and in the place (and under the number) of the last event that was dropped
    stands a `ChannelPressure` that counts all of them: the loss is told where it happened, once the stream is back.
    """

    def __init__(self) -> None:
        self._waiting: deque[Stamped] = deque()
        self._overflowed = 0  # events that were dropped

    def handle(self, stamped: Stamped, following: Next) -> None:
        if len(self._waiting) < ROOM:
            self._waiting.append(stamped)
        else:
            self._drop(stamped)
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

    def _drop(self, stamped: Stamped) -> None:
        if _tells_of_drops(self._waiting[-1]):
            self._waiting.pop()
        self._overflowed += 1
        self._waiting.append(msgspec.structs.replace(stamped, event=ChannelPressure(CHANNEL, self._overflowed)))

    def _take(self) -> list[Stamped]:
        return [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]


def _tells_of_drops(stamped: Stamped) -> bool:
    return isinstance(stamped.event, ChannelPressure) and stamped.event.channel == CHANNEL
