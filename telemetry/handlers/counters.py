"""Counts events by name: the cheapest metrics there are."""

from __future__ import annotations

from collections import Counter

from telemetry.events import Stamped, event_name
from telemetry.pipeline import Next


class Counters:
    """`counts` maps an event's name to how often it came."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def handle(self, stamped: Stamped, following: Next) -> None:
        self.counts[event_name(stamped.event)] += 1
        following(stamped)
