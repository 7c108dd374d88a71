"""The run's events as the parent hears them: decoded, and each once. What they mean is not known here.

Where events are read from and written to, as protocols that upper floors implement.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from telemetry.events import Stamped
from telemetry.stream.publisher import decode_events


class EventLog(Protocol):
    """The run's stream of events, as those write to it to whom things happen."""

    async def append(self, frame: bytes) -> bool:
        """Store a batch of events (telemetry/stream/publisher.py); False: not stored, keep it."""
        ...


class EventSource(Protocol):
    """The run's stream of events, as one reader reads it with a cursor of its own. Of all readers one, the recorder,
    forgets what it has read, except the newest batches: those are for readers that join later."""

    def read(self, retry_s: float = 0.0) -> list[bytes]:
        """The batches that came since the last call; those that were forgotten before are missing without a word, and
        the events' own numbers tell (telemetry/stream/feed.py). A server that is away for longer than `retry_s` has
        nothing new to tell."""
        ...


class EventFeed:
    """Reads on where the last call ended.

    A batch may stand in the stream twice, because its first reply was lost. A source numbers the events of a life 1, 2,
    3 … and stores them in order: so a number that is not above the last one was heard before, and a number that is
    passed over will never be heard. `missed` counts those: events forgotten before this reader came to them, dropped
    by a source whose buffer overflowed, or in a batch that is garbage.
    """

    def __init__(self, source: EventSource) -> None:
        self.missed = 0
        self._source = source
        self._heard: dict[tuple[str, int], int] = {}  # by source and incarnation: the highest number

    def read(self, retry_s: float = 0.0) -> Iterator[Stamped]:
        """What is new. A server that is away for longer than `retry_s` has nothing new to tell."""
        return self.hear(self._source.read(retry_s))

    def hear(self, frames: Iterable[bytes]) -> Iterator[Stamped]:
        """What is new in batches from elsewhere: what a source wrote there is younger than all it stored in the stream,
        or stands there too."""
        for frame in frames:
            try:
                events = decode_events(frame)
            except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
                continue  # anybody may write to a stream; what is missing shows as a gap in the numbers
            yield from filter(self.is_new, events)

    def is_new(self, stamped: Stamped) -> bool:
        """Whether the event was not heard before; from now on it was."""
        life = (stamped.source, stamped.incarnation)
        last = self._heard.get(life, 0)
        if stamped.number <= last:
            return False
        self.missed += stamped.number - last - 1
        self._heard[life] = stamped.number
        return True
