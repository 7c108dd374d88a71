"""Which faults are in force when: the lines of a plan in time. Pure, and no clock; times count from the order `go`.

A fault keeps its instance number, and so its dice, as long as it lasts and whenever it comes again; no other fault of
the run ever gets that number.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import count

import msgspec

from broker.agenda import Turns
from broker.deeds import ProcessFault
from broker.grammar import Heal, Line
from broker.plan import Planned
from broker.spans import FOREVER_US, Span


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
    `deeds`, each with its turns, by instance.
    """

    def __init__(self, plan: Iterable[Timed], for_us: int) -> None:
        plan = list(plan)
        self._heals = [planned for planned in plan if isinstance(planned.line.fault, Heal)]
        self._spans = [
            (planned, Span(planned.line.when, _healed_us(planned, self._heals), for_us))
            for planned in plan
            if not isinstance(planned.line.fault, Heal | ProcessFault)
        ]
        self._deeds = list(_deeds_in(plan, self._heals, for_us))
        settled = [_start_us(heal) for heal in self._heals] + [span.settled_us for _, span in self._spans]
        self.settled_us = max([*settled, *(turns.settled_us for _, _, turns in self._deeds)], default=0)
        """When every dated fault has happened and, if it has a duration, is over; 0 when none is dated."""
        self.happened_us = max([*settled, *(turns.last_us for _, _, turns in self._deeds)], default=0)
        """The same, but for pauses, which may end before their time: those have begun."""

    @property
    def deeds(self) -> dict[int, tuple[ProcessFault, Turns]]:
        """The faults of processes and when they are due, by instance."""
        return {planned.instance: (fault, turns) for planned, fault, turns in self._deeds}

    def in_force(self, now_us: int) -> tuple[Planned, ...]:
        """What is in force, `now_us` after go (negative: before it)."""
        return tuple(
            Planned(planned.instance, planned.line.fault.text()) for planned, span in self._spans if span.is_on(now_us)
        )

    def next_change_us(self, now_us: int) -> int | None:
        """The first time after `now_us` at which something may begin or end; None when nothing ever will."""
        return min((edge_us for _, span in self._spans for edge_us in span.edges_us(now_us)), default=None)

    def remaining(self, now_us: int) -> list[Timed]:
        """The plan without what is over."""
        heals = [heal for heal in self._heals if _start_us(heal) > now_us]
        lasting = [planned for planned, span in self._spans if not span.is_over(now_us)]
        return heals + lasting + [planned for planned, _, turns in self._deeds if turns.settled_us > now_us]

    def to_come(self, now_us: int) -> list[Timed]:
        """The plan without what has begun."""
        return [planned for planned in self.remaining(now_us) if _start_us(planned) > now_us]


def _deeds_in(
    plan: Iterable[Timed], heals: Collection[Timed], for_us: int
) -> Iterator[tuple[Timed, ProcessFault, Turns]]:
    for planned in plan:
        fault = planned.line.fault
        if isinstance(fault, ProcessFault):
            yield planned, fault, Turns(planned.line.when, _healed_us(planned, heals), for_us)


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
