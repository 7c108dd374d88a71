"""Which plan rules at which place of an outbox. All changes are kept, but only so many plans ready to decide fates.

A plan in use remembers much to save work, and a long run has many changes: most of them bring back what was before.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from broker.plan import Plan, PlanChange, Planned

Place = tuple[int, int]
"""Where something stands in the outbox."""

READY_LIMIT: Final = 64  # plans

NO_PLAN: Final = PlanChange(())
"""What is in force before the first plan: nothing harms."""


class History:
    """The plan changes of one outbox, each in force from its place on."""

    def __init__(self) -> None:
        self._places: list[Place] = [(0, 0)]
        self._changes: list[PlanChange] = [NO_PLAN]
        self._ready = lru_cache(maxsize=READY_LIMIT)(_plan_of)
        self._ruling = 0  # which change ruled when last asked: nearly always the same
        self._plan = self._ready(())

    def add(self, place: Place, change: PlanChange) -> Plan:
        """Enter a change at a place that has none; its plan. Raises ValueError when a text in it is no fault."""
        plan = self._ready(change.faults)
        index = bisect_left(self._places, place)
        self._places.insert(index, place)
        self._changes.insert(index, change)
        self._ruling = -1
        return plan

    def before(self, place: Place) -> PlanChange:
        """The last change before `place`."""
        return self._changes[bisect_left(self._places, place) - 1]

    def ruling(self, place: Place) -> Plan:
        """The plan in force for what stands at `place`."""
        index = bisect_left(self._places, place) - 1
        if index != self._ruling:
            self._ruling, self._plan = index, self._ready(self._changes[index].faults)
        return self._plan

    def after(self, place: Place) -> Iterator[tuple[Place, Plan]]:
        """The plans that come into force after `place`, and where."""
        for index in range(bisect_left(self._places, place), len(self._places)):
            yield self._places[index], self._ready(self._changes[index].faults)


def _plan_of(faults: tuple[Planned, ...]) -> Plan:
    return Plan(PlanChange(faults))
