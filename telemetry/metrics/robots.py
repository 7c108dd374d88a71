"""What the fold knows of each robot: the state that gauges show, and whether robots have series of their own.

A robot's newest life counts: what an older one says late changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from telemetry.events import Stamped
from telemetry.metrics import table
from telemetry.metrics.series import Recent, attributes_of
from telemetry.metrics.table import Metric
from telemetry.metrics.values import Family, Number

MOST_ROBOTS: Final = 100
"""Robots that have series of their own; with more than these, none has: then all are summed up."""

_MOST_REMEMBERED: Final = 10_000


class RobotState(msgspec.Struct):
    """By its newest life."""

    incarnation: int = 0
    parts: int = 0
    is_complete: bool = False
    is_quiet: bool = False


_GAUGES: Final[Mapping[Metric, Callable[[RobotState], int]]] = {
    table.PARTS: lambda robot: robot.parts,
    table.COMPLETE: lambda robot: int(robot.is_complete),
    table.QUIET: lambda robot: int(robot.is_quiet),
    table.INCARNATION: lambda robot: robot.incarnation,
}


class Robots:
    """All robots that were seen. `join` is called once, when there are too many to have series of their own."""

    def __init__(self, join: Callable[[], None]) -> None:
        self._join = join
        self._labels: dict[str, str] = {}
        self._is_joined = False
        self._parts = 0  # of the secret; 0: not known
        self._states: Recent[str, RobotState] = Recent(_MOST_REMEMBERED)

    def deal(self, robots: int, parts: int) -> None:
        """So many robots were dealt a secret of so many parts."""
        self._parts = parts
        if robots > MOST_ROBOTS:
            self._join_all()

    def label(self, name: str) -> str:
        """The value of the attribute for this robot; empty when robots have no series of their own."""
        label = self._labels.get(name)
        if label is None and not self._is_joined:
            if len(self._labels) == MOST_ROBOTS:
                self._join_all()
            else:
                label = self._labels[name] = name
        return label or ""

    def born(self, name: str, incarnation: int, parts: int) -> None:
        """A life began with so many parts."""
        if incarnation >= self._state(name).incarnation:
            self._states[name] = RobotState(incarnation, parts, 0 < parts == self._parts)

    def of(self, stamped: Stamped) -> RobotState:
        """The state that an event of a robot may change; that of an older life is kept nowhere."""
        state = self._state(stamped.source)
        return state if stamped.incarnation >= state.incarnation else RobotState()

    def family(self, metric: Metric) -> Family:
        """A gauge of every robot, or the sum of all."""
        value_of = _GAUGES[metric]
        if self._is_joined:
            return Family(
                metric, numbers=(Number(attributes_of(metric, ("",)), sum(map(value_of, self._states.values()))),)
            )
        numbers = (Number(attributes_of(metric, (name,)), value_of(state)) for name, state in self._states.items())
        return Family(metric, numbers=tuple(sorted(numbers, key=lambda number: number.attributes)))

    def _state(self, name: str) -> RobotState:
        state = self._states.get(name)
        if state is None:
            state = self._states[name] = RobotState()
        return state

    def _join_all(self) -> None:
        self._is_joined = True
        self._labels.clear()
        self._join()
