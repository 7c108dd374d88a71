"""The scene of a run at one moment: the view, and what screens show beside it. The app and replay share it.

It is a fold over events, and judges nothing. What it shows of one moment depends only on the events until then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from telemetry.events import (
    AnomalyBegan,
    AnomalyEnded,
    Event,
    ExchangeEnded,
    FatesDecided,
    MessageReceived,
    MessageRepeated,
    MessageSent,
    RunStarted,
    Stamped,
    TicksExecuted,
)
from telemetry.phrases import bitmap_of_parts
from telemetry.record.rows import DealtPart
from telemetry.record.settings import RunSettings
from telemetry.scene.curve import Curve
from telemetry.scene.faults import FaultHistory
from telemetry.scene.network import Network
from telemetry.scene.pairs import Pairs
from telemetry.scene.processes.lifelines import Lifelines
from telemetry.scene.processes.workers import Workers
from telemetry.scene.promises import Fact, Promises, Totals, facts_of
from telemetry.scene.teaching import Teaching
from telemetry.scene.traffic import Traffic
from telemetry.scene.transit import Transit
from telemetry.stories.stories import Stories
from telemetry.view import View, fold

MOST_EVENTS: Final = 50_000
"""Events that a scene keeps for its list of events; older ones are in the record."""

_TABLES: Final = (
    "curve",
    "teaching",
    "traffic",
    "pairs",
    "transit",
    "network",
    "faults",
    "lifelines",
    "workers",
    "promises",
)
_FREQUENT: Final[Mapping[type[Event], tuple[str, ...]]] = {
    MessageSent: ("traffic", "pairs", "transit"),
    MessageReceived: ("traffic", "pairs", "transit"),
    MessageRepeated: ("traffic", "pairs"),
    ExchangeEnded: ("traffic", "pairs"),
    TicksExecuted: ("traffic", "lifelines"),
    FatesDecided: ("network", "faults", "lifelines"),
}
"""Nine of ten events are of these kinds: the tables that take them. All others go to all tables."""


class Scene:
    """A run so far. Times are microseconds of the run's wall clock; `now_us` is set from outside, because a run may
    stand still without any event."""

    def __init__(self, settings: RunSettings, dealt: Iterable[DealtPart], most_events: int = MOST_EVENTS) -> None:
        self.settings = settings
        self.holders = {part.index: part.holders for part in dealt}
        self.dealt = _dealt_bitmaps(self.holders)
        self.now_us = 0
        self.go_us: int | None = None
        self.view = View()
        self.events: deque[Stamped] = deque(maxlen=most_events)
        self.seen = 0
        """Events that were folded."""
        self.anomalies: dict[tuple[str, str], Stamped] = {}
        """What is unusual now, by its rule and what it is about."""
        self.curve = Curve(max(settings.tick_us // 4, 1))
        self.teaching = Teaching()
        self.traffic = Traffic()
        self.pairs = Pairs()
        self.workers = Workers()
        self.network = Network(settings.shards)
        self.lifelines = Lifelines()
        self.promises = Promises()
        self.stories = Stories()
        self.faults = FaultHistory(settings.plan)
        self.transit = Transit()

    @property
    def since_go_us(self) -> int | None:
        """The time since `go`; None before it."""
        return None if self.go_us is None else self.now_us - self.go_us

    @property
    def robots(self) -> Sequence[str]:
        """Every robot that was dealt, lived or waits, in order."""
        names = {*self.dealt, *self.view.robots, *self.view.unborn, *self._named}
        return sorted(names, key=lambda name: (len(name), name))

    @property
    def lasting(self) -> Sequence[str]:
        """Those that are not dead for good."""
        viewed = self.view.robots
        return [name for name in self.robots if name not in viewed or viewed[name].state != "dead"]

    @property
    def complete(self) -> int:
        """How many of these lack no part."""
        return sum(robot.is_complete and robot.state != "dead" for robot in self.view.robots.values())

    def held(self, robot: str) -> int:
        """The bitmap of the parts that a robot is known to hold: dealt, or reported as merged."""
        seen = self.view.robots.get(robot)
        return self.dealt.get(robot, 0) | (seen.learnt if seen else 0)

    def handle(self, stamped: Stamped) -> None:
        """Fold one more event."""
        self.view = view = fold(self.view, stamped)
        self.events.append(stamped)
        self.seen += 1
        if stamped.wall_us > self.now_us:
            self.now_us = stamped.wall_us
        tables = _FREQUENT.get(type(stamped.event))
        if tables is None:
            tables = _TABLES
            self._note(stamped)
            self.stories.handle(stamped)
        for name in tables:
            getattr(self, name).handle(stamped, view)

    def _note(self, stamped: Stamped) -> None:
        match stamped.event:
            case RunStarted() if self.go_us is None:
                self.go_us = stamped.wall_us
            case AnomalyBegan(rule, about):
                self.anomalies[rule, about] = stamped
            case AnomalyEnded(rule, about):
                self.anomalies.pop((rule, about), None)

    @property
    def facts(self) -> Sequence[Fact]:
        """What is known of each promise so far."""
        robots = self.traffic.robots.values()
        totals = Totals(
            sent=sum(robot.parts_sent for robot in robots),
            learnt=sum(robot.learnt.bit_count() for robot in self.view.robots.values()),
            repeated=sum(robot.repeated for robot in robots),
            offered=self.network.total.offered,
            lost=self.network.total.lost,
            injected=sum(self.faults.done.values()),
        )
        return list(facts_of(self.promises, self.view, totals))

    def copy(self) -> Scene:
        """The same scene, to go on from another time. Its settings and deal are shared."""
        other = Scene.__new__(Scene)
        other.__dict__ = {
            **self.__dict__,
            "events": self.events.copy(),
            "anomalies": self.anomalies.copy(),
            "stories": self.stories.copy(),
            **{name: getattr(self, name).copy() for name in _TABLES},
        }
        return other

    @property
    def _named(self) -> Sequence[str]:
        """The robots that a run begins with, by their number."""
        width = max(2, len(str(self.settings.robots - 1)))
        return [f"r{number:0{width}d}" for number in range(self.settings.robots)]


def _dealt_bitmaps(holders: dict[int, tuple[str, ...]]) -> dict[str, int]:
    parts: dict[str, list[int]] = {}
    for part, robots in holders.items():
        for robot in robots:
            parts.setdefault(robot, []).append(part)
    return {robot: bitmap_of_parts(indices) for robot, indices in parts.items()}
