"""A hand-made story of a run, of which every metric has a value, and how to fold events. No tests here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from telemetry.events import (
    AnomalyBegan,
    AnomalyEnded,
    AnyEvent,
    ChannelPressure,
    ExchangeEnded,
    FatesDecided,
    MessageDropped,
    MessageReceived,
    MessageRefused,
    MessageRepeated,
    MessageSent,
    PartsMerged,
    RobotBorn,
    RobotComplete,
    RobotDisturbed,
    RobotQuiet,
    RunDealt,
    Stamped,
    WorkerRestarted,
)
from telemetry.metrics.fold import MetricsFold
from telemetry.metrics.series import Values
from telemetry.metrics.table import Metric
from telemetry.metrics.values import Distribution, MetricsSnapshot

RUN = "7b08e1"
SEED = 7
ZERO_US = 1_700_000_000_000_000
EXCHANGE = "00112233445566aa"


class Story:
    """Stamps events, one after the other of each source and life."""

    def __init__(self) -> None:
        self.events: list[Stamped] = []
        self._numbers: dict[tuple[str, int], int] = {}

    def happened(self, at_us: int, source: str, event: AnyEvent, life: int = 1) -> Story:
        """An event at `at_us` after the run's beginning. The monotonic clock of every robot began a second before."""
        number = self._numbers[source, life] = self._numbers.get((source, life), 0) + 1
        self.events.append(Stamped(RUN, source, life, number, ZERO_US + at_us, 1_000_000 + at_us, event))
        return self


def folded(events: Iterable[Stamped], missed: int = 0) -> MetricsSnapshot:
    """The metrics of these events."""
    fold = MetricsFold(SEED)
    for stamped in events:
        fold.add(stamped)
    fold.missed = missed
    return fold.snapshot()


def numbers(snapshot: MetricsSnapshot, metric: Metric) -> dict[Values, int]:
    """A metric's numbers, by the values of its own attributes in the table's order."""
    return {
        _key(metric, dict(number.attributes)): number.value
        for family in snapshot.families
        if family.metric is metric
        for number in family.numbers
    }


def distributions(snapshot: MetricsSnapshot, metric: Metric) -> dict[Values, Distribution]:
    """A histogram's distributions, in the same way."""
    return {
        _key(metric, dict(distribution.attributes)): distribution
        for family in snapshot.families
        if family.metric is metric
        for distribution in family.distributions
    }


def moved(before: MetricsSnapshot, after: MetricsSnapshot) -> set[Metric]:
    """The metrics that differ."""
    values = [{family.metric: family for family in snapshot.families} for snapshot in (before, after)]
    return {metric for metric in values[0].keys() | values[1] if values[0].get(metric) != values[1].get(metric)}


def _key(metric: Metric, attributes: dict[str, str]) -> Values:
    return tuple(attributes.get(name, "") for name in metric.attributes)


def decided(**counts: Any) -> FatesDecided:
    """A relay's batch of which all is 0 that is not given."""
    return FatesDecided(**(dict.fromkeys(FatesDecided.__struct_fields__, 0) | counts))


def whole_story() -> list[Stamped]:
    """One exchange with its parts, and something of everything else."""
    summary = MessageSent("r01", 1, "summary", EXCHANGE, 1, 20, 500)
    answer = MessageSent("r00", 1, "answer", EXCHANGE, 1, 20, 100, cause=(1, 1, 0))
    update = MessageDropped("r01", 2, "update", EXCHANGE, "the outbox is full", 50, cause=(1, 1, 0))
    story = Story().happened(0, "lab", RunDealt(3, 2), life=0)
    story.happened(1_000, "r00", RobotBorn(1, 0)).happened(1_000, "r01", RobotBorn(1, 0))
    story.happened(10_000, "r00", summary)
    story.happened(12_000, "relay:0", decided(offered=3, lost=1, delayed=1, duplicated=1, copies=3, lag_us=2_000))
    story.happened(30_000, "r01", MessageReceived("r00", 1, 1, 0, "summary", EXCHANGE, 0, "5-1"))
    story.happened(30_400, "r01", answer)
    story.happened(30_900, "r01", PartsMerged("r00", 1, 1, 0, (0,), 2)).happened(31_000, "r01", RobotComplete(2))
    story.happened(50_400, "r00", MessageReceived("r01", 1, 1, 0, "answer", EXCHANGE, 0, "6-1"))
    story.happened(50_500, "r00", MessageRepeated("r01", 1, 1, 0))
    story.happened(50_600, "r00", MessageRefused("7-1", "bad checksum", kind="answer"))
    story.happened(51_000, "r00", ExchangeEnded("r01", EXCHANGE, "answered", 2, 41_500, 1))
    story.happened(51_450, "r00", update)
    story.happened(60_000, "r01", RobotQuiet(10)).happened(61_000, "r01", RobotDisturbed())
    story.happened(62_000, "r00", RobotQuiet(10))
    story.happened(63_000, "r02", RobotBorn(2, 0)).happened(64_000, "r02", RobotQuiet(10))
    story.happened(65_000, "r02", RobotBorn(2, 2), life=2)
    story.happened(70_000, "r00", WorkerRestarted("secret_merger", 1, 100))
    story.happened(71_000, "r00", ChannelPressure("outbox", 4))
    story.happened(80_000, "lab", AnomalyBegan("relay lag", "relay:0", "slow"), life=0)
    story.happened(81_000, "lab", AnomalyBegan("late beat", "r01", "silent"), life=0)
    story.happened(82_000, "lab", AnomalyEnded("late beat", "r01", 1_000), life=0)
    return story.events
