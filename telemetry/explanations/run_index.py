"""A run's history, indexed for questions: lives, journals, envelopes with their fates, times after `go`. Answers none.

An index is built when it is first asked for, because most questions need few of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from typing import Final

import msgspec

from telemetry.diagnosis.causes import Diagnosis, diagnose
from telemetry.events import (
    AnyEvent,
    FaultInjected,
    MessageDropped,
    MessageReceived,
    MessageSent,
    PartsMerged,
    PlanChanged,
    SecretWritten,
    Stamped,
)
from telemetry.explanations.links import Links
from telemetry.record.history import History
from telemetry.record.rows import (
    BornRow,
    CompleteRow,
    DeathRow,
    FateRow,
    InjectionRow,
    LostRow,
    PartRow,
    PlanRow,
    QuietRow,
    ms_of,
)
from telemetry.view import View, view_at

Address = tuple[str, int, str, int]
"""An envelope: sender, incarnation, receiver, sequence."""
Cause = tuple[str, int, int, int]
"""A copy of an envelope, as its receiver knows it: sender, incarnation, sequence, copy."""

_DEADLY: Final = frozenset({"kill", "restart", "pause", "amnesia"})
_OLD_MS: Final = 5_000  # between an injection and a death that it causes


class Learnt(msgspec.Struct, frozen=True):
    """A part that a robot knew: since which of its lives, and by which copy (None: it was dealt it)."""

    life: int
    cause: Cause | None


class RobotHistory(msgspec.Struct):
    """What a robot's journal holds: by part its entry, and the entries that a life made when it was complete and quiet.
    `is_lost`: the journal was gone. What is known then is what the robot had reported."""

    robot: str
    parts: dict[int, PartRow]
    completed: list[CompleteRow]
    quiets: list[QuietRow]
    is_lost: bool = False


class RunIndex:
    """Times are microseconds of the server's clock, or of a robot's wall clock, which are taken for the same."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.run = history.settings.run
        self.tick_us = history.settings.tick_us
        self.dealt = {part.index: part.holders for part in history.dealt}
        """By part, the robots that were dealt it."""

    # Time

    @cached_property
    def go_us(self) -> int | None:
        """When the gossip was ordered to begin; None when it never was."""
        return self.history.order_us("go")

    @cached_property
    def stop_us(self) -> int | None:
        """When the run was ordered to stop; None when it never was, or goes on."""
        return self.history.order_us("stop")

    @cached_property
    def end_us(self) -> int:
        """When the run was stopped; of one that goes on, its last event."""
        last_us = max((stamped.wall_us for stamped in self.history.events), default=0)
        return last_us if self.stop_us is None else self.stop_us

    def after_go_s(self, at_us: int) -> float:
        """Seconds after `go`; negative before it."""
        return round((at_us - (self.go_us or at_us)) / 1e6, 3)

    # Robots

    @cached_property
    def robots(self) -> dict[str, RobotHistory]:
        """All robots of the run, dealt or joined, by name."""
        settings = self.history.settings
        width = max(2, len(str(settings.robots - 1)))
        names = [f"r{number:0{width}d}" for number in range(settings.robots)]
        robots = {name: RobotHistory(name, {}, [], []) for name in names}
        for row in self.history.journals:
            robot = robots.setdefault(row.robot, RobotHistory(row.robot, {}, [], []))
            match row:
                case PartRow():
                    robot.parts.setdefault(row.index, row)
                case CompleteRow():
                    robot.completed.append(row)
                case QuietRow():
                    robot.quiets.append(row)
                case LostRow():
                    robot.is_lost = True
        return robots

    @cached_property
    def everything(self) -> frozenset[int]:
        """All parts that were dealt."""
        return frozenset(self.dealt)

    def lacking(self, robot: str) -> list[int]:
        """The parts that a robot's journal does not hold, in order."""
        return sorted(self.everything - self.robots[robot].parts.keys())

    def is_complete(self, robot: str) -> bool:
        """Whether its journal holds every part."""
        return not self.lacking(robot)

    def learnt_us(self, robot: str, part: int) -> int | None:
        """When the robot had the part: when it reported the merge, else when the copy was due; `go` for what it was
        dealt, and None when it never had it, or the time is not known."""
        learnt = self.learnt(robot, part)
        if learnt is None:
            return None
        if learnt.cause is None:
            return self.go_us or 0
        merged_us = self._merges.get((robot, learnt.cause))
        return self._due_us(robot, learnt.cause) if merged_us is None else merged_us

    def learnt(self, robot: str, part: int) -> Learnt | None:
        """How the robot came to know the part, by its journal; of a robot whose journal was lost, by what it had
        reported and by the deal. None when neither shows that it knew it."""
        if robot not in self.robots:
            return None
        row = self.robots[robot].parts.get(part)
        if row is not None:
            return Learnt(int(row.id.partition("-")[0]), row.cause)
        if not self.robots[robot].is_lost:
            return None
        dealt = Learnt(1, None) if robot in self.dealt.get(part, ()) else None
        return dealt or self._reported_parts.get((robot, part))

    @cached_property
    def _reported_parts(self) -> dict[tuple[str, int], Learnt]:
        """By robot and part, the first merge that the robot reported."""
        reported: dict[tuple[str, int], Learnt] = {}
        for stamped in self.history.events:
            event = stamped.event
            if isinstance(event, PartsMerged):
                cause = (event.sender, event.sender_incarnation, event.sequence, event.copy)
                for part in event.indices:
                    reported.setdefault((stamped.source, part), Learnt(stamped.incarnation, cause))
        return reported

    def completed_us(self, robot: str) -> int | None:
        """When the robot was complete; None when it is not, or that is not known."""
        times = [self.learnt_us(robot, part) for part in self.robots[robot].parts]
        if not self.is_complete(robot) or None in times:
            return None
        return max([time for time in times if time is not None], default=None)

    def last_part(self, robot: str) -> int | None:
        """The part that it learnt last; None when it learnt none."""
        parts = self.robots[robot].parts.items()
        learnt = [(self.learnt_us(robot, part) or 0, part) for part, row in parts if row.cause is not None]
        return max(learnt)[1] if learnt else None

    def received_us(self, robot: str, cause: Cause) -> int | None:
        """When the robot reported that the copy had reached it; None when it did not."""
        return self._receipts.get((robot, cause))

    @cached_property
    def _receipts(self) -> dict[tuple[str, Cause], int]:
        receipts: dict[tuple[str, Cause], int] = {}
        for stamped in self.history.events:
            event = stamped.event
            if isinstance(event, MessageReceived):
                cause = (event.sender, event.sender_incarnation, event.sequence, event.copy)
                receipts.setdefault((stamped.source, cause), stamped.wall_us)
        return receipts

    def _due_us(self, robot: str, cause: Cause) -> int | None:
        sender, life, sequence, copy = cause
        row = self.fates.get((sender, life, robot, sequence))
        if row is None or not 0 <= copy < len(row.deliveries):
            return None
        return max(ms_of(row.id) * 1000 + row.deliveries[copy], ms_of(row.stored) * 1000)

    @cached_property
    def _merges(self) -> dict[tuple[str, Cause], int]:
        merges: dict[tuple[str, Cause], int] = {}
        for stamped in self.history.events:
            event = stamped.event
            if isinstance(event, PartsMerged):
                cause = (event.sender, event.sender_incarnation, event.sequence, event.copy)
                merges.setdefault((stamped.source, cause), stamped.wall_us)
        return merges

    # Lives

    @cached_property
    def births_us(self) -> dict[str, dict[int, int]]:
        """By robot and life, when it was born."""
        births: dict[str, dict[int, int]] = defaultdict(dict)
        for row in self.history.controls:
            if isinstance(row, BornRow):
                births[row.robot].setdefault(row.incarnation, ms_of(row.id) * 1000)
        return births

    def born_after(self, robot: str, life: int, at_us: int) -> tuple[int, int] | None:
        """The next life of a robot after the death of that one (0: which one is not known), and when it was born."""
        births = sorted(self.births_us.get(robot, {}).items())
        return next(((born, born_us) for born, born_us in births if born > life and born_us >= at_us), None)

    def lived_at(self, robot: str, at_us: int) -> bool:
        """Whether the robot was born by then, and its death is not recorded to be before that."""
        born_us = max((each for each in self.births_us.get(robot, {}).values() if each <= at_us), default=None)
        ends = (ms_of(death.id) * 1000 for death, _ in self.deaths.get(robot, ()))
        return born_us is not None and not any(born_us <= end_us <= at_us for end_us in ends)

    @cached_property
    def deaths(self) -> dict[str, list[tuple[DeathRow, InjectionRow | None]]]:
        """By robot, or by the name of another process, its deaths, each with the injection that caused it, if one did.
        An injection causes one death at most, and one that is old causes none."""
        deaths: dict[str, list[tuple[DeathRow, InjectionRow | None]]] = defaultdict(list)
        injected: dict[str, InjectionRow] = {}
        for row in self.history.fleet:
            if isinstance(row, InjectionRow):
                if row.verb in _DEADLY:
                    injected[row.victim] = row
                elif row.verb == "resume":
                    injected.pop(row.victim, None)
            elif isinstance(row, DeathRow):
                process = row.robot or row.victim
                causes = (injected.pop(name, None) for name in (row.victim, process, f"rq:{process}"))
                cause = next((each for each in causes if each and ms_of(row.id) - ms_of(each.id) <= _OLD_MS), None)
                deaths[process].append((row, cause))
        return deaths

    @property
    def processes(self) -> set[str]:
        """The names of those that died, or into which something was injected."""
        return {*self.deaths, *self.injections}

    @cached_property
    def injections(self) -> dict[str, list[InjectionRow]]:
        """By victim, the injections, in order."""
        injections: dict[str, list[InjectionRow]] = defaultdict(list)
        for row in self.history.fleet:
            if isinstance(row, InjectionRow):
                injections[row.victim].append(row)
        return injections

    @cached_property
    def events_of(self) -> dict[str, list[Stamped]]:
        """The events of each source, in the order of its lives."""
        events: dict[str, list[Stamped]] = defaultdict(list)
        for stamped in self.history.events:
            events[stamped.source].append(stamped)
        for of_source in events.values():
            of_source.sort(key=lambda stamped: (stamped.incarnation, stamped.number))
        return events

    def reported(self, robot: str, *kinds: type[AnyEvent]) -> Iterator[Stamped]:
        """The robot's own events of these kinds (of all kinds when none is named), in order."""
        return (stamped for stamped in self.events_of.get(robot, ()) if not kinds or isinstance(stamped.event, kinds))

    @cached_property
    def write(self) -> Stamped | None:
        """The event of the write that the register accepted; None when no robot reported one."""
        written = (stamped for stamped in self.history.events if isinstance(stamped.event, SecretWritten))
        return min(written, key=lambda stamped: stamped.wall_us, default=None)

    def injected_us(self, row: InjectionRow) -> int:
        """When the injection was done, by the event of its injector; where the events do not show that, when it was
        ordered."""
        return self._injected_us.get(row.id, ms_of(row.id) * 1000)

    @cached_property
    def _injected_us(self) -> dict[str, int]:
        """By injection, the time of its event. The events of one kind come in the order of the injections."""
        ordered: dict[tuple[str, str], list[InjectionRow]] = defaultdict(list)
        done: dict[tuple[str, str], list[int]] = defaultdict(list)
        for row in self.history.fleet:
            if isinstance(row, InjectionRow):
                ordered[row.verb, row.victim].append(row)
        for stamped in self.history.events:
            if isinstance(stamped.event, FaultInjected):
                done[stamped.event.verb, stamped.event.victim].append(stamped.wall_us)
        matched = ((rows, done[kind]) for kind, rows in ordered.items() if len(rows) == len(done[kind]))
        return {row.id: at_us for rows, times in matched for row, at_us in zip(rows, sorted(times), strict=True)}

    # Envelopes

    @cached_property
    def fates(self) -> dict[Address, FateRow]:
        """By envelope, what the relay decided."""
        fates: dict[Address, FateRow] = {}
        for row in self.history.fates:
            if isinstance(row, FateRow) and row.sender is not None and row.receiver is not None:
                fates[row.sender, row.incarnation or 0, row.receiver, row.sequence or 0] = row
        return fates

    @cached_property
    def sendings(self) -> dict[Address, Stamped]:
        """By envelope, the event of its sender."""
        return {
            (each.source, each.incarnation, each.event.receiver, each.event.sequence): each
            for each in self.history.events
            if isinstance(each.event, MessageSent)
        }

    @cached_property
    def exchanges(self) -> dict[frozenset[str], dict[str, list[FateRow]]]:
        """By pair of robots, and by exchange in the order of their beginnings, the fates of its envelopes."""
        pairs: dict[frozenset[str], dict[str, list[FateRow]]] = defaultdict(dict)
        for (sender, _, receiver, _), row in self.fates.items():
            pairs[frozenset((sender, receiver))].setdefault(row.exchange or "", []).append(row)
        return pairs

    @cached_property
    def undecided(self) -> list[tuple[Stamped, MessageSent | MessageDropped]]:
        """What robots sent, or could not send, and no relay decided until the end."""
        return [
            (stamped, stamped.event)
            for stamped in self.history.events
            if isinstance(stamped.event, MessageSent | MessageDropped)
            and (stamped.source, stamped.incarnation, stamped.event.receiver, stamped.event.sequence) not in self.fates
        ]

    # The plan, and the end

    @cached_property
    def plans(self) -> list[PlanRow]:
        """Changes of the plan in the first shard (all apply the same), in order."""
        return [row for row in self.history.controls if isinstance(row, PlanRow) and row.shard == 0]

    def plan_us(self, row: PlanRow) -> int | None:
        """When the relay of the first shard applied a change of the plan. The plan that was there before any relay has
        no time of its own: then it is when the relay reported it, and None when no event shows that."""
        if ms_of(row.id) > 0:
            return ms_of(row.id) * 1000
        new = tuple(planned.fault for planned in row.faults)
        reports = (each for each in self.history.events if isinstance(each.event, PlanChanged))
        applied = (each for each in reports if each.event.shard == 0 and each.event.new == new)  # type: ignore[union-attr]
        return min((each.wall_us for each in applied), default=None)

    def faults_at(self, at_us: int) -> tuple[str, ...]:
        """The faults in force at that time; what was published with the order to stop does not count."""
        before = [row for row in self.plans if ms_of(row.id) * 1000 < at_us]
        return tuple(planned.fault for planned in before[-1].faults) if before else ()

    @cached_property
    def links(self) -> Links:
        """The links under the faults in force at the end."""
        return Links(self.faults_at(self.end_us))

    @cached_property
    def view(self) -> View:
        """The run at its end."""
        return view_at(self.history.events, self.end_us)

    @cached_property
    def diagnosis(self) -> list[Diagnosis]:
        """Why the run was not done at its end, or does not go on."""
        return diagnose(msgspec.structs.replace(self.view, faults=self.faults_at(self.end_us)), self.dealt, Links)
