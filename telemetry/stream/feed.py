"""The run's events for a reader: decoded, and each once; and what a stream of events is for its writers.

Where batches come from, and what events mean, plays no part here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from telemetry.events import Stamped
from telemetry.stream.publisher import decode_events


class EventLog(Protocol):
    """The run's stream of events, for writers."""

    async def append(self, frame: bytes) -> bool:
        """Store a batch of events (telemetry/stream/publisher.py). False: it was not stored; keep it."""
        ...


class EventFeed:
    """Decodes batches, from a stream or from elsewhere (a spill), and yields each event once.

    A batch may be in the stream twice, because its first reply was lost. A source numbers the events of a life 1, 2,
    3 … and stores them in order: so a number that is not above the highest one is a duplicate, and a number that is
    skipped will never come. `missed` counts the skipped ones: events trimmed before this reader read them, dropped by a
    source whose buffer overflowed, or in a batch that is garbage.
    """

    def __init__(self) -> None:
        self.missed = 0
        self._highest: dict[tuple[str, int], int] = {}  # number, by source and incarnation

    def receive(self, frames: Iterable[bytes]) -> Iterator[Stamped]:
        """The new events in batches: of each source, newer than all that came before, or known."""
        for frame in frames:
            try:
                events = decode_events(frame)
            except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
                continue  # garbage from another writer; the missing events show as a gap in the numbers
            yield from filter(self.is_new, events)

    def is_new(self, stamped: Stamped) -> bool:
        """Whether the event is new; it is not the next time."""
        life = (stamped.source, stamped.incarnation)
        last = self._highest.get(life, 0)
        if stamped.number <= last:
            return False
        self.missed += stamped.number - last - 1
        self._highest[life] = stamped.number
        return True
