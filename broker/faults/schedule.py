"""A plan in time: which faults of messages are in force when, and when the faults of processes are due.

Pure, and no clock; times are whole microseconds that count from the order `go`. A fault of messages is in force or
not; a fault of processes is injected once at each of its times, and only a pause lasts, so that its end is due as well.
A fault keeps its instance number, and so its dice, as long as it lasts and whenever it comes again; no other fault of
the run ever gets that number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import count
from typing import Final

import msgspec

from broker.control_entries import Planned
from broker.faults.grammar import Line, When
from broker.faults.process_faults import ProcessFault
from broker.faults.registry import Heal

FOREVER_US: Final = 1 << 62
TRIAL_US: Final = 1_000_000  # so long is a dated fault without an end in force before it counts as tried
_LONG_AGO_US: Final = -1  # before go: nothing is due


class Occurrences:
    """The times of one fault, numbered from 0: as its `when` says, but none at `healed_us` or later, and none but the
    first at `for_us` or later. `trial_us`: how long an occurrence without an end counts as going on."""

    def __init__(self, when: When, healed_us: int, for_us: int, trial_us: int = 0) -> None:
        self._start_us = -FOREVER_US if when.start_us is None else when.start_us
        self._every_us = FOREVER_US if when.every_us is None else when.every_us
        self._duration_us = when.duration_us
        self._trial_us = trial_us
        self.healed_us = healed_us
        last_us = min(for_us, healed_us) - 1 if when.every_us else self._start_us
        self._last = max(0, (last_us - self._start_us) // self._every_us)

    @property
    def last_us(self) -> int:
        """When the last of them has begun; 0 when the fault is not dated."""
        return max(0, min(self.healed_us, self._begin_us(self._last)))

    @property
    def settled_us(self) -> int:
        """When the last of them has begun and, unless something ends it before, is over; 0 when the fault is not
        dated."""
        lasts_us = self._trial_us if self._duration_us is None else self._duration_us
        return max(0, min(self.healed_us, self._begin_us(self._last) + lasts_us))

    def is_on(self, now_us: int) -> bool:
        """Whether one has begun and is not over. One without a duration is over when the fault is healed."""
        begin_us = self._begin_us(self._at(now_us))
        return begin_us <= now_us < min(self._end_us(begin_us), self.healed_us)

    def is_over(self, now_us: int) -> bool:
        """Whether none is on, and none is to come."""
        return not self.is_on(now_us) and self.next_us(now_us) is None

    def begun(self, after_us: int, until_us: int) -> Iterator[tuple[int, int, int | None]]:
        """Those that begin after `after_us`, by `until_us` at the latest: (number, beginning, end). The end is None
        when it has no duration."""
        first = max(0, (after_us - self._start_us) // self._every_us + 1)
        for occurrence in range(first, min(self._last, (until_us - self._start_us) // self._every_us) + 1):
            begin_us = self._begin_us(occurrence)
            if begin_us < self.healed_us:
                end_us = None if self._duration_us is None else min(self._end_us(begin_us), self.healed_us)
                yield occurrence, begin_us, end_us

    def next_us(self, now_us: int) -> int | None:
        """The next time after `now_us` at which one begins; None when none does."""
        occurrence = max(0, (now_us - self._start_us) // self._every_us + 1)
        begin_us = self._begin_us(occurrence)
        return begin_us if occurrence <= self._last and begin_us < self.healed_us else None

    def next_edge_us(self, now_us: int) -> int | None:
        """The next time after `now_us` at which one may begin or end; None when none does."""
        edges_us = (self.next_us(now_us), self._end_us(self._begin_us(self._at(now_us))), self.healed_us)
        return min(
            (edge_us for edge_us in edges_us if edge_us is not None and now_us < edge_us < FOREVER_US), default=None
        )

    def _at(self, now_us: int) -> int:
        """The last that has begun by `now_us`; the first when none has."""
        return min(self._last, max(0, now_us - self._start_us) // self._every_us)

    def _begin_us(self, occurrence: int) -> int:
        return self._start_us + occurrence * self._every_us

    def _end_us(self, begin_us: int) -> int:
        return FOREVER_US if self._duration_us is None else begin_us + self._duration_us


class Timed(msgspec.Struct, frozen=True):
    """A line, and the instance number of its fault."""

    instance: int
    line: Line

    def stretched(self, factor: Fraction) -> Timed:
        """The same in a run in which everything takes `factor` times as long."""
        return Timed(self.instance, self.line.stretched(factor))


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
    with its first time. Nothing begins again at `for_us` or later. Faults of processes are never in force: `DueFaults`
    hands them out when they are due.
    """

    def __init__(self, plan: Iterable[Timed], for_us: int) -> None:
        plan = list(plan)
        self._heals = [planned for planned in plan if isinstance(planned.line.fault, Heal)]
        self._message_faults: list[tuple[Timed, Occurrences]] = []
        self._process_faults: list[tuple[Timed, Occurrences]] = []
        self.process_faults: dict[int, tuple[ProcessFault, Occurrences]] = {}
        """The faults of processes and when they are due, by instance."""
        for planned in plan:
            fault, when, healed_us = planned.line.fault, planned.line.when, _healed_us(planned, self._heals)
            if isinstance(fault, ProcessFault):
                occurrences = Occurrences(when, healed_us, for_us)
                self._process_faults.append((planned, occurrences))
                self.process_faults[planned.instance] = fault, occurrences
            elif not isinstance(fault, Heal):
                self._message_faults.append((planned, Occurrences(when, healed_us, for_us, TRIAL_US)))
        settled = [
            *(_start_us(heal) for heal in self._heals),
            *(occurrences.settled_us for _, occurrences in self._message_faults),
        ]
        process_faults = [occurrences for _, occurrences in self._process_faults]
        self.settled_us = max([*settled, *(each.settled_us for each in process_faults)], default=0)
        """When every dated fault has happened and, if it has a duration, is over; 0 when none is dated."""
        self.happened_us = max([*settled, *(each.last_us for each in process_faults)], default=0)
        """The same, but for pauses, which may end before their time: those have begun."""

    def in_force(self, now_us: int) -> tuple[Planned, ...]:
        """The faults of messages that are in force, `now_us` after go (negative: before it)."""
        return tuple(
            Planned(planned.instance, planned.line.fault.text())
            for planned, occurrences in self._message_faults
            if occurrences.is_on(now_us)
        )

    def next_change_us(self, now_us: int) -> int | None:
        """The first time after `now_us` at which one of them may begin or end; None when none ever will."""
        edges_us = (occurrences.next_edge_us(now_us) for _, occurrences in self._message_faults)
        return min((edge_us for edge_us in edges_us if edge_us is not None), default=None)

    def remaining(self, now_us: int) -> list[Timed]:
        """The plan without what is over."""
        return [
            *(heal for heal in self._heals if _start_us(heal) > now_us),
            *(planned for planned, occurrences in self._message_faults if not occurrences.is_over(now_us)),
            *(planned for planned, occurrences in self._process_faults if occurrences.settled_us > now_us),
        ]

    def to_come(self, now_us: int) -> list[Timed]:
        """The plan without what has begun."""
        return [planned for planned in self.remaining(now_us) if _start_us(planned) > now_us]


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


class Due(msgspec.Struct, frozen=True):
    """An occurrence (from 0) of a fault of processes whose time has come; with `is_end`, the end of its duration.
    `request_id`: the person's request that it comes from; empty: it was in the plan."""

    instance: int
    occurrence: int
    fault: ProcessFault
    is_end: bool = False
    request_id: str = ""


class DueFaults:
    """Hands out the faults of processes that are due. A change of the plan takes nothing back that was handed out."""

    def __init__(self) -> None:
        self._process_faults: Mapping[int, tuple[ProcessFault, Occurrences]] = {}
        self._given_us = _LONG_AGO_US
        self._open: list[tuple[int, Due]] = []  # ends of pauses that have begun, with their time

    @property
    def next_free_us(self) -> int:
        """The earliest time for which a fault can still be planned, and will be handed out."""
        return self._given_us + 1

    def plan(self, process_faults: Mapping[int, tuple[ProcessFault, Occurrences]]) -> None:
        """From now on these, by instance. A pause that has begun and is not among them is over at the next `due`."""
        self._process_faults = process_faults
        healed_us = {instance: occurrences.healed_us for instance, (_, occurrences) in process_faults.items()}
        self._open = [(min(end_us, healed_us.get(due.instance, _LONG_AGO_US)), due) for end_us, due in self._open]

    def due(self, now_us: int) -> list[Due]:
        """What has come due since the last call, in the order of time; of equal times ends first, then by instance."""
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
        edges = [occurrences.next_us(now_us) for _, occurrences in self._process_faults.values()]
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
