"""A small run of hand-made events in virtual time, under a detector. No tests here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from telemetry.anomalies.detector import AnomalyDetector
from telemetry.anomalies.thresholds import DEFAULTS, Thresholds
from telemetry.events import (
    AnomalyBegan,
    AnomalyEnded,
    AnyEvent,
    FatesDecided,
    MessageReceived,
    MessageSent,
    PlanChanged,
    RobotBorn,
    RobotStarted,
    Stamped,
    TicksExecuted,
)

TICK_US = 100_000
STEP_US = 10_000
EPOCH_US = 1_700_000_000_000_000
ROBOTS = ("r00", "r01", "r02", "r03")

T = TypeVar("T", AnomalyBegan, AnomalyEnded)


class Scene:
    """Robots that were born and started, and all that happens to them. Every tick of `live` each robot that is not
    silent sends an envelope to the next one, the relay decides it, and it arrives."""

    def __init__(self, robots: Iterable[str] = ROBOTS, thresholds: Thresholds = DEFAULTS, shards: int = 1) -> None:
        self.detector = AnomalyDetector(TICK_US, lambda robot: int(robot[1:]) % shards, thresholds)
        self.now_us = 0
        self.robots = tuple(robots)
        self.events: list[Stamped] = []
        self.announced: list[tuple[int, AnomalyBegan | AnomalyEnded]] = []
        self._numbers: dict[tuple[str, int], int] = {}
        for robot in self.robots:
            self.emit(robot, RobotBorn(2, 0))
            self.emit(robot, RobotStarted())

    def emit(self, source: str, event: AnyEvent, incarnation: int = 1, age_us: int = 0) -> None:
        """An event that is read now, and happened `age_us` before."""
        number = self._numbers[source, incarnation] = self._numbers.get((source, incarnation), 0) + 1
        happened_us = self.now_us - age_us
        stamped = Stamped("abc123", source, incarnation, number, EPOCH_US + happened_us, happened_us, event)
        self.events.append(stamped)
        self.detector.observe(stamped, self.now_us)

    def wait(self, ticks: float) -> None:
        """Nothing happens for so long, and the detector is asked again and again."""
        end_us = self.now_us + round(ticks * TICK_US)
        while self.now_us < end_us:
            self.now_us = min(end_us, self.now_us + STEP_US)
            self.detector.advance(self.now_us)
            self.announced += [(self.now_us, news) for news in self.detector.announcements()]

    def live(
        self,
        ticks: int,
        silent: Iterable[str] = (),
        arrives: Callable[[str, str], bool] = lambda _sender, _receiver: True,
        is_relayed: bool = True,
    ) -> None:
        """Robots live for so many ticks."""
        talking = [robot for robot in self.robots if robot not in silent]
        for _ in range(ticks):
            for place, sender in enumerate(talking):
                receiver = talking[(place + 1) % len(talking)]
                self.emit(sender, TicksExecuted(1))
                self.send(sender, receiver)
                if is_relayed:
                    self.decide()
                    if arrives(sender, receiver):
                        self.receive(receiver, sender)
            self.wait(1)

    def send(self, sender: str, receiver: str, held: int = 0) -> None:
        self.emit(sender, MessageSent(receiver, 1, "summary", "00" * 8, 0, 10, waited_us=100, held=held))

    def receive(self, receiver: str, sender: str, copy: int = 0) -> None:
        self.emit(receiver, MessageReceived(sender, 1, 1, copy, "summary", "00" * 8, 0, "1-0"))

    def decide(self, offered: int = 1, shard: int = 0, **counts: int) -> None:
        """A batch of fates; all counts that are not given are 0."""
        names = ("lost", "duplicated", "delayed", "corrupted", "stale", "refused", "copies", "kept", "freed", "lag_us")
        all_counts = {**dict.fromkeys(names, 0), **counts}
        self.emit(f"relay:{shard}", FatesDecided(shard=shard, offered=offered, **all_counts))

    def plan(self, *faults: str, shard: int = 0) -> None:
        self.emit(f"relay:{shard}", PlanChanged(shard, (), faults))

    def begun(self, rule: str) -> list[tuple[float, str]]:
        """When the rule's anomalies began, in ticks, and what they are about."""
        return self._of(AnomalyBegan, rule)

    def ended(self, rule: str) -> list[tuple[float, str]]:
        return self._of(AnomalyEnded, rule)

    def _of(self, kind: type[T], rule: str) -> list[tuple[float, str]]:
        return [
            (at_us / TICK_US, news.about)
            for at_us, news in self.announced
            if isinstance(news, kind) and news.rule == rule
        ]
