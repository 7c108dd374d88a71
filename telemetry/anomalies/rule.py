"""What every rule is given, and what it must offer to the detector.

Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from telemetry.anomalies.active import ActiveAnomalies
from telemetry.anomalies.robots import KnownRobots
from telemetry.anomalies.thresholds import Thresholds
from telemetry.events import Event, Stamped

SHORTEST_US: Final = 500_000
"""A silence that is shorter is none, whatever the tick: events of a live run are read up to some 0.2 s after they
happened."""

Handle = Callable[[Any, Stamped], None]
"""Gets an event and its stamp."""


class Observed:
    """What a rule knows beside its own events: the robots, the thresholds, the tick, the anomalies that stand."""

    def __init__(self, tick_us: int, thresholds: Thresholds) -> None:
        self.thresholds = thresholds
        self.active = ActiveAnomalies()
        self.robots = KnownRobots()
        self._tick_us = tick_us

    @property
    def now_us(self) -> int:
        """The observer's time."""
        return self.active.now_us

    def us(self, ticks: float) -> int:
        """So many ticks in microseconds."""
        return round(ticks * self._tick_us)

    def silence_us(self, ticks: float) -> int:
        """The same for a silence."""
        return max(SHORTEST_US, self.us(ticks))


class Rule(Protocol):
    """One rule, or a small family. Its memory is bounded by the run's robots, relays and thresholds."""

    @property
    def handlers(self) -> Mapping[type[Event], Handle]:
        """The events that it wants."""
        ...

    def check(self) -> None:
        """Called some times in every tick: what depends on time alone."""
        ...
