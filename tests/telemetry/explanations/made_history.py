"""A history that a test makes by hand: times are milliseconds after `go`. No tests here."""

from __future__ import annotations

from telemetry.events import AnyEvent, MessageSent, PartsMerged, RobotBorn, RobotComplete, RunDealt, RunStarted, Stamped
from telemetry.explanations.run_index import RunIndex
from telemetry.record.history import History
from telemetry.record.rows import (
    BornRow,
    DealtPart,
    DeathRow,
    FateRow,
    HeaderRow,
    InjectionRow,
    LifeRow,
    OrderRow,
    PartRow,
    PlannedFault,
    PlanRow,
)
from tests.support.recorded_settings import settings_of

GO_MS = 1_700_000_000_000


class MadeRun:
    """Robots with the parts that each was dealt: `MadeRun({0: ["r00"], 1: ["r01"]}, robots=2)`. All are born before
    `go`."""

    def __init__(self, dealt: dict[int, list[str]], robots: int) -> None:
        self.history = History(
            settings=settings_of(run="f00000", robots=robots),
            dealt=tuple(DealtPart(index, tuple(holders)) for index, holders in dealt.items()),
            controls=[],
            fates=[],
            journals=[],
            fleet=[],
            orders=[OrderRow(f"{GO_MS}-0", "go")],
            events=[],
        )
        self._entries: dict[str, int] = {}
        self._held: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        self.event(-10, "lab", RunDealt(robots, len(dealt)))
        self.plan(-9)
        for number in range(robots):
            robot = f"r{number:02d}"
            self.history.journals.append(HeaderRow(robot, "0-1", "dealt"))
            for index, holders in dealt.items():
                if robot in holders:
                    self.history.journals.append(PartRow(robot, self._entry(robot, 0), index, "word", False, None))
            self._held[robot] = sum(robot in holders for holders in dealt.values())
            self.born(-5, robot, 1)
        self.event(0, "lab", RunStarted(robots))

    def index(self, stop_ms: int | None = 10_000) -> RunIndex:
        """The index of the history, of a run that was stopped then because of its limit (None: it goes on)."""
        if stop_ms is not None:
            self.history.orders.append(OrderRow(f"{GO_MS + stop_ms}-0", "stop", "limit"))
        return RunIndex(self.history)

    def event(self, at_ms: int, source: str, event: AnyEvent, life: int = 1) -> None:
        self._numbers[source] = number = self._numbers.get(source, 0) + 1
        at_us = (GO_MS + at_ms) * 1000
        self.history.events.append(Stamped("f00000", source, life, number, at_us, at_us, event))

    def plan(self, at_ms: int, *faults: str) -> None:
        planned = tuple(PlannedFault(number, fault) for number, fault in enumerate(faults))
        self.history.controls.append(PlanRow(0, f"{GO_MS + at_ms}-1", planned, "", "", ""))

    def born(self, at_ms: int, robot: str, life: int) -> None:
        self.history.controls.append(BornRow(0, f"{GO_MS + at_ms}-2", robot, life))
        self.history.journals.append(LifeRow(robot, f"{life}-1", "nonce"))
        self.event(at_ms, robot, RobotBorn(self._held[robot], 0), life)

    def killed(self, at_ms: int, robot: str, life: int, verb: str = "kill") -> None:
        self.injected(at_ms, verb, robot)
        self.died(at_ms, robot, life)

    def injected(self, at_ms: int, verb: str, victim: str) -> None:
        self.history.fleet.append(InjectionRow(f"{GO_MS + at_ms}-3", verb, victim, victim))

    def died(self, at_ms: int, robot: str, life: int) -> None:
        self.history.fleet.append(DeathRow(f"{GO_MS + at_ms}-4", robot, robot, life, "signal", -9))

    def sent(
        self,
        at_ms: int,
        sender: str,
        receiver: str,
        kind: str,
        exchange: str,
        fate: str = "delivered",
        delay_ms: int = 5,
        faults: tuple[str, ...] = (),
        lag_ms: int = 1,
    ) -> int:
        """An envelope of the sender's first life with its fate, which the relay decided after so long. Returns its
        sequence."""
        sequence = len(self.history.fates) + 1
        deliveries = (delay_ms * 1000,) if fate in ("delivered", "corrupt") else ()
        row = FateRow(
            shard=0,
            id=f"{GO_MS + at_ms}-{sequence}",
            stored=f"{GO_MS + at_ms + lag_ms}-0",
            sender=sender,
            incarnation=1,
            receiver=receiver,
            sequence=sequence,
            exchange=exchange,
            kind=kind,
            fate=fate,  # type: ignore[arg-type]
            faults=tuple(PlannedFault(1, fault) for fault in faults),
            deliveries=deliveries,
            body=9,
            wire=60,
        )
        self.history.fates.append(row)
        self.event(at_ms, sender, MessageSent(receiver, sequence, kind, exchange, 0, 9, 0))
        return sequence

    def taught(
        self, at_ms: int, teacher: str, learner: str, part: int, exchange: str = "e1", faults: tuple[str, ...] = ()
    ) -> None:
        """The teacher's answer, sent then, brings the part after 5 ms."""
        sequence = self.sent(at_ms, teacher, learner, "answer", exchange, faults=faults)
        self.learnt(at_ms + 5, learner, part, (teacher, 1, sequence, 0))

    def learnt(self, at_ms: int, learner: str, part: int, cause: tuple[str, int, int, int]) -> None:
        """The learner merged the part of that copy then."""
        self.history.journals.append(PartRow(learner, self._entry(learner, 1), part, "word", False, cause))
        self._held[learner] += 1
        self.event(at_ms, learner, PartsMerged(*cause, indices=(part,), held=self._held[learner]))
        if self._held[learner] == len(self.history.dealt):
            self.event(at_ms, learner, RobotComplete(self._held[learner]))

    def _entry(self, robot: str, life: int) -> str:
        self._entries[robot] = number = self._entries.get(robot, 1) + 1
        return f"{life}-{number}"
