"""Which faults leave robots a fair chance to become complete, and which robots they cut off. Judges nothing.

A link between two robots is cut when in either direction more than half of the envelopes are lost or damaged, or they
may take longer than a tick, or are throttled: an exchange needs both directions. A robot is well connected
when no more than half of what it exchanges with all others is lost on average, cut links counted as losing everything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from math import prod
from typing import Final, Literal

from telemetry.verdict.case import Case
from telemetry.verdict.evidence.journals import RobotJournal
from telemetry.verdict.recomputed.fault_rules import Rule, number_of

BUDGET_LOSS: Final = 0.5
"""The share of envelopes that all faults together may lose while convergence is required."""

_ROUNDING: Final = 1e-9

Standing = tuple[int, tuple[bool, ...]]
"""A robot's shard (-1: it was never born), and on which sides of the faults' targets it is.
Robots with equal standing have the same faults."""

Parts = frozenset[int]


def lost_share(rules: Iterable[Rule], tick_us: int) -> float:
    """The share of envelopes that these faults lose together, 0..1; 1 when they are above the budget."""
    faults = tuple(rules)
    lost = 1 - prod(1 - rule.loss for rule in faults)
    late_us = sum(rule.longest_us for rule in faults)
    too_much = lost > BUDGET_LOSS + _ROUNDING or late_us > tick_us or any(rule.name == "throttle" for rule in faults)
    return 1.0 if too_much else lost


class Network:
    """The links between `living` robots under the faults that were in force when the order to stop came."""

    def __init__(self, case: Case, living: list[RobotJournal], stop_ms: int) -> None:
        self._shards = case.shards
        self._tick_us = case.settings.tick_us
        self._faults = case.rulebook.in_force_at(stop_ms)
        self._sides = {side for faults in self._faults.values() for rule in faults.rules for side in rule.target.sides}
        self._crowds: dict[Standing, list[RobotJournal]] = defaultdict(list)
        for journal in living:
            self._crowds[self._standing(journal.robot)].append(journal)
        self._lost = {(one, other): self._link(one, other) for one in self._crowds for other in self._crowds}
        self._well = {standing for standing in self._crowds if self._is_well_connected(standing)}
        self._held = {
            standing: _union(journal.indices for journal in crowd) for standing, crowd in self._crowds.items()
        }
        self._dealt = {standing: _union(journal.dealt for journal in crowd) for standing, crowd in self._crowds.items()}

    def above_budget(self) -> tuple[Rule, ...]:
        """The faults without a target, if they are together above the budget; else nothing."""
        for faults in self._faults.values():
            rules = tuple(rule for rule in faults.rules if not rule.target.sides)
            if lost_share(rules, self._tick_us) == 1:
                return rules
        return ()

    def situation(self, journal: RobotJournal) -> Literal["cut off", "doubtful", "fair"]:
        """Whether a robot could get what it lacks.

        It is cut off when it is not well connected, or when its links to all holders of one of the parts are cut. It
        had a fair chance if one of the parts always had a good holder: one that is well connected, and whose link to
        the robot is not cut. A robot always held what it was dealt; of other holders that is known only if all are
        good.
        """
        own = self._standing(journal.robot)
        reached = {other for other in self._crowds if self._lost[own, other] < 1}
        lacks = _union(self._held.values()) - journal.indices
        if own not in self._well or not lacks <= _union(self._held[other] for other in reached):
            return "cut off"
        good = reached & self._well
        always = _union(self._dealt[other] for other in good)
        perhaps_late = _union(held for other, held in self._held.items() if other not in good)
        return "fair" if not lacks or lacks & always or lacks - perhaps_late else "doubtful"

    def _standing(self, robot: str) -> Standing:
        number = number_of(robot)
        places = (any(number in span for span in side) for side in self._sides)
        return self._shards.get(robot, -1), tuple(places)

    def _link(self, one: Standing, other: Standing) -> float:
        return max(self._one_direction(one, other), self._one_direction(other, one))

    def _one_direction(self, origin: Standing, end: Standing) -> float:
        faults = self._faults.get(origin[0])
        if faults is None:
            return 0.0
        sender, receiver = (number_of(self._crowds[standing][0].robot) for standing in (origin, end))
        return lost_share(faults.concerning((sender, receiver)), self._tick_us)

    def _is_well_connected(self, standing: Standing) -> bool:
        others = {other: len(crowd) - (other == standing) for other, crowd in self._crowds.items()}
        lost = sum(robots * self._lost[standing, other] for other, robots in others.items())
        return lost <= (BUDGET_LOSS + _ROUNDING) * sum(others.values())


def _union(several: Iterable[Parts]) -> Parts:
    return Parts().union(*several)
