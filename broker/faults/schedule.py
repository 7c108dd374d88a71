"""When the faults of processes are due: each of their turns once. Pure, and no clock; times count from the order `go`.

Unlike a fault of messages (broker/faults/schedule.py), which is in force or not, a deed is done, once, at its time;
only a pause lasts, and its end is due as well.

Which faults are in force when: the lines of a plan in time. Pure, and no clock; times count from the order `go`.

A fault keeps its instance number, and so its dice, as long as it lasts and whenever it comes again; no other fault of
the run ever gets that number.

The times of one fault: when it begins, ends and comes again. Arithmetic on whole microseconds since `go`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import count
from typing import Final

import msgspec

from broker.control_entries import Planned
from broker.faults.grammar import Heal, Line, When
from broker.faults.process_faults import ProcessFault

FOREVER_US: Final = 1 << 62
TRIAL_US: Final = 1_000_000  # so long is a dated fault without an end in force before it counts as tried


class Interval:
    """When a fault is in force: as its `when` says, but not from `healed_us` on, and beginning again only before
    `for_us` (its first time is never left out)."""

    def __init__(self, when: When, healed_us: int, for_us: int) -> None:
        self._when = when
        self._healed_us = healed_us
        self._last_occurrence = 0
        if when.every_us is not None:
            self._last_occurrence = max(0, (for_us - 1 - (when.start_us or 0)) // when.every_us)

    @property
    def settled_us(self) -> int:
        """When it has happened and is over for the last time, or, if it has no end, has been tried; 0 when it is not
        dated."""
        begin_us, end_us = self._occurrence_us(self._last_occurrence)
        return max(0, min(self._healed_us, begin_us + TRIAL_US if self._when.duration_us is None else end_us))

    def is_on(self, now_us: int) -> bool:
        """Whether it is in force."""
        begin_us, end_us = self._occurrence_us(self._occurrence_at(now_us))
        return begin_us <= now_us < min(end_us, self._healed_us)

    def edges_us(self, now_us: int) -> list[int]:
        """The next times after `now_us` at which it may begin or end; empty when there are none."""
        occurrence = self._occurrence_at(now_us)
        edges = {
            self._healed_us,
            *self._occurrence_us(occurrence),
            *self._occurrence_us(min(occurrence + 1, self._last_occurrence)),
        }
        return [edge_us for edge_us in edges if now_us < edge_us <= self._healed_us and edge_us < FOREVER_US]

    def is_over(self, now_us: int) -> bool:
        """Whether it is not in force and never will be again."""
        occurrence = self._occurrence_at(now_us)
        begins = self._occurrence_us(occurrence)[0], self._occurrence_us(min(occurrence + 1, self._last_occurrence))[0]
        return not self.is_on(now_us) and not any(now_us < begin_us < self._healed_us for begin_us in begins)

    def _occurrence_at(self, now_us: int) -> int:
        """The last of its turns, from 0, that has begun by `now_us`; 0 when none has."""
        if self._when.every_us is None:
            return 0
        return min(self._last_occurrence, max(0, now_us - (self._when.start_us or 0)) // self._when.every_us)

    def _occurrence_us(self, occurrence: int) -> tuple[int, int]:
        """Beginning and end of a turn."""
        when = self._when
        if when.start_us is None:
            return -FOREVER_US, FOREVER_US
        begin_us = when.start_us + occurrence * (when.every_us or 0)
        return begin_us, FOREVER_US if when.duration_us is None else begin_us + when.duration_us


_LONG_AGO_US: Final = -1  # before go: nothing is due


class Due(msgspec.Struct, frozen=True):
    """A deed whose time has come: which turn (from 0) of which instance. `is_end`: what it paused goes on now."""

    instance: int
    occurrence: int
    fault: ProcessFault
    is_end: bool = False


class Occurrences:
    """The times of one deed: as its `when` says, but none at `healed_us` or later, and none but the first at `for_us`
    or later."""

    def __init__(self, when: When, healed_us: int, for_us: int) -> None:
        self._start_us = when.start_us or 0
        self._every_us = when.every_us or FOREVER_US
        self._duration_us = when.duration_us
        self.healed_us = healed_us
        beyond_us = min(for_us, healed_us) if when.every_us else 0
        self._last = max(0, (beyond_us - 1 - self._start_us) // self._every_us)

    @property
    def last_us(self) -> int:
        """When the last of them has happened. A pause need not be over then."""
        return max(0, min(self.healed_us, self._begin_us(self._last)))

    @property
    def settled_us(self) -> int:
        """When the last of them has happened and, unless somebody ends it before, is over."""
        end_us = self._begin_us(self._last) + (self._duration_us or 0)
        return max(0, min(self.healed_us, end_us))

    def begun(self, after_us: int, until_us: int) -> Iterator[tuple[int, int, int | None]]:
        """The turns that begin after `after_us`, by `until_us` at the latest: (turn, beginning, end)."""
        first = max(0, (after_us - self._start_us) // self._every_us + 1)
        last = min(self._last, (until_us - self._start_us) // self._every_us)
        for occurrence in range(first, last + 1):
            begin_us = self._begin_us(occurrence)
            if begin_us < self.healed_us:
                yield occurrence, begin_us, self._end_us(begin_us)

    def edge_us(self, now_us: int) -> int | None:
        """The next time after `now_us` at which one begins; None when none does."""
        occurrence = max(0, (now_us - self._start_us) // self._every_us + 1)
        begin_us = self._begin_us(occurrence)
        return begin_us if occurrence <= self._last and begin_us < self.healed_us else None

    def _begin_us(self, occurrence: int) -> int:
        return self._start_us + occurrence * self._every_us

    def _end_us(self, begin_us: int) -> int | None:
        return None if self._duration_us is None else min(begin_us + self._duration_us, self.healed_us)


class DueFaults:
    """Hands out what is due. What was handed out stays so when the plan is changed."""

    def __init__(self) -> None:
        self._process_faults: Mapping[int, tuple[ProcessFault, Occurrences]] = {}
        self._given_us = _LONG_AGO_US
        self._open: list[tuple[int, Due]] = []  # ends of pauses that have begun, with their time

    @property
    def next_free_us(self) -> int:
        """The earliest time for which a deed can still be planned, and will be handed out."""
        return self._given_us + 1

    def plan(self, process_faults: Mapping[int, tuple[ProcessFault, Occurrences]]) -> None:
        """From now on these, by instance. A pause that has begun and is not among them ends with the next look."""
        self._process_faults = process_faults
        healed_us = {instance: occurrences.healed_us for instance, (_, occurrences) in process_faults.items()}
        self._open = [(min(end_us, healed_us.get(due.instance, _LONG_AGO_US)), due) for end_us, due in self._open]

    def due(self, now_us: int) -> list[Due]:
        """What has come due since the last look, in the order of time; of equal times ends first, then by instance."""
        found = [*self._open]
        for instance, (fault, occurrences) in self._process_faults.items():
            found += _dues(instance, fault, occurrences.begun(self._given_us, now_us))
        self._given_us = max(self._given_us, now_us)
        self._open = [(at_us, due) for at_us, due in found if at_us > now_us]
        ready = [(at_us, due) for at_us, due in found if at_us <= now_us]
        return [due for _, due in sorted(ready, key=_order)]

    def is_idle(self, now_us: int) -> bool:
        """Whether nothing that is due by `now_us` is still to be handed out."""
        next_us = self.next_us(self._given_us)
        return next_us is None or next_us > now_us

    def next_us(self, now_us: int) -> int | None:
        """The first time after `now_us` at which anything comes due; None when nothing ever will."""
        edges = [occurrences.edge_us(now_us) for _, occurrences in self._process_faults.values()]
        return min([*(edge for edge in edges if edge is not None), *(at_us for at_us, _ in self._open)], default=None)


def _dues(
    instance: int, fault: ProcessFault, occurrences: Iterable[tuple[int, int, int | None]]
) -> Iterator[tuple[int, Due]]:
    for occurrence, begin_us, end_us in occurrences:
        yield begin_us, Due(instance, occurrence, fault)
        if end_us is not None:
            yield end_us, Due(instance, occurrence, fault, is_end=True)


def _order(timed: tuple[int, Due]) -> tuple[int, bool, int, int]:
    at_us, due = timed
    return at_us, not due.is_end, due.instance, due.occurrence


class Timed(msgspec.Struct, frozen=True):
    """A line, and the instance number of its fault."""

    instance: int
    line: Line


def timed(lines: Iterable[Line]) -> list[Timed]:
    """The lines, numbered from 0."""
    return [Timed(instance, line) for instance, line in enumerate(lines)]


def amend(lines: Iterable[Line], more: Iterable[Line]) -> list[Line]:
    """`lines` with `more`: a fault for everyone and always takes the place of the one of its name that is so before it,
    or only removes that when it does nothing itself (`loss 0`); any other is added."""
    return [planned.line for planned in amend_timed(timed(lines), more, count())]


def amend_timed(plan: Iterable[Timed], more: Iterable[Line], instances: Iterator[int]) -> list[Timed]:
    """The same with a plan that has its numbers; `more` gets those of `instances`."""
    amended = list(plan)
    for line in more:
        place = next((place for place, old in enumerate(amended) if _replaces(line, old.line)), len(amended))
        is_nothing = line.is_lasting and line.fault.is_noop
        amended[place : place + 1] = [] if is_nothing else [Timed(next(instances), line)]
    return amended


class Schedule:
    """A plan in time.

    `heal` ends what begins before it, or in the same microsecond under a lower instance number; what comes again ends
    with its first time. Nothing begins again at `for_us` or later. Faults of processes are never in force: they are
    `process_faults`, each with its turns, by instance.
    """

    def __init__(self, plan: Iterable[Timed], for_us: int) -> None:
        plan = list(plan)
        self._heals = [planned for planned in plan if isinstance(planned.line.fault, Heal)]
        self._intervals = [
            (planned, Interval(planned.line.when, _healed_us(planned, self._heals), for_us))
            for planned in plan
            if not isinstance(planned.line.fault, Heal | ProcessFault)
        ]
        self._process_faults = list(_process_faults_in(plan, self._heals, for_us))
        settled = [_start_us(heal) for heal in self._heals] + [interval.settled_us for _, interval in self._intervals]
        self.settled_us = max(
            [*settled, *(occurrences.settled_us for _, _, occurrences in self._process_faults)], default=0
        )
        """When every dated fault has happened and, if it has a duration, is over; 0 when none is dated."""
        self.happened_us = max(
            [*settled, *(occurrences.last_us for _, _, occurrences in self._process_faults)], default=0
        )
        """The same, but for pauses, which may end before their time: those have begun."""

    @property
    def process_faults(self) -> dict[int, tuple[ProcessFault, Occurrences]]:
        """The faults of processes and when they are due, by instance."""
        return {planned.instance: (fault, occurrences) for planned, fault, occurrences in self._process_faults}

    def in_force(self, now_us: int) -> tuple[Planned, ...]:
        """What is in force, `now_us` after go (negative: before it)."""
        return tuple(
            Planned(planned.instance, planned.line.fault.text())
            for planned, interval in self._intervals
            if interval.is_on(now_us)
        )

    def next_change_us(self, now_us: int) -> int | None:
        """The first time after `now_us` at which something may begin or end; None when nothing ever will."""
        return min((edge_us for _, interval in self._intervals for edge_us in interval.edges_us(now_us)), default=None)

    def remaining(self, now_us: int) -> list[Timed]:
        """The plan without what is over."""
        heals = [heal for heal in self._heals if _start_us(heal) > now_us]
        lasting = [planned for planned, interval in self._intervals if not interval.is_over(now_us)]
        return (
            heals
            + lasting
            + [planned for planned, _, occurrences in self._process_faults if occurrences.settled_us > now_us]
        )

    def to_come(self, now_us: int) -> list[Timed]:
        """The plan without what has begun."""
        return [planned for planned in self.remaining(now_us) if _start_us(planned) > now_us]


def _process_faults_in(
    plan: Iterable[Timed], heals: Collection[Timed], for_us: int
) -> Iterator[tuple[Timed, ProcessFault, Occurrences]]:
    for planned in plan:
        fault = planned.line.fault
        if isinstance(fault, ProcessFault):
            yield planned, fault, Occurrences(planned.line.when, _healed_us(planned, heals), for_us)


def _replaces(new: Line, old: Line) -> bool:
    return new.is_lasting and old.is_lasting and new.fault.name == old.fault.name


def _start_us(planned: Timed) -> int:
    start_us = planned.line.when.start_us
    return -FOREVER_US if start_us is None else start_us


def _healed_us(planned: Timed, heals: Iterable[Timed]) -> int:
    """When a heal ends it, at the latest."""
    begin = (_start_us(planned), planned.instance)
    ends = [_start_us(heal) for heal in heals if (_start_us(heal), heal.instance) > begin]
    return min(ends, default=FOREVER_US)
