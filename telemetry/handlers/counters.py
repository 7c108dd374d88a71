"""Counts events by name, for the record's counters.json. It keeps no event."""

from __future__ import annotations

from collections import Counter

from telemetry.events import Stamped, event_name
from telemetry.pipeline import Next


class Counters:
    """`counts`: how often each event came, by name."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def handle(self, stamped: Stamped, following: Next) -> None:
        self.counts[event_name(stamped.event)] += 1
        following(stamped)
