"""Where events are read from and written to, as protocols that upper floors implement."""

from __future__ import annotations

from typing import Protocol


class EventLog(Protocol):
    """The run's stream of events, as those write to it to whom things happen."""

    async def append(self, frame: bytes) -> bool:
        """Store a batch of events (telemetry/stream/publisher.py); False: not stored, keep it."""
        ...


class EventSource(Protocol):
    """The run's stream of events, as one reader reads it with a cursor of its own. Of all readers one, the recorder,
    forgets what it has read, except the newest batches: those are for readers that join later."""

    def read(self, patience_s: float = 0.0) -> list[bytes]:
        """The batches that came since the last call; those that were forgotten before are missing without a word, and
        the events' own numbers tell (deploy/event_feed.py). A server that is away for longer than `patience_s` has
        nothing new to tell."""
        ...
