"""What a result tells of each robot, computed from its run's history. It judges nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from telemetry.explanations.run_index import RunIndex


class RobotFigures(msgspec.Struct, frozen=True):
    """A robot: when it was complete, in seconds after `go` (None: never, or that is not known); how many lives it had;
    how many envelopes it sent, and how many of them were lost; and who taught it the last part (empty: no robot)."""

    robot: str
    complete_s: float | None
    lives: int
    sent: int
    lost: int
    taught_by: str


def robot_figures(index: RunIndex) -> list[RobotFigures]:
    """All robots, in order."""
    sent = Counter(sender for sender, *_ in index.fates)
    lost = Counter(sender for (sender, *_), row in index.fates.items() if row.fate == "lost")
    return [
        RobotFigures(
            robot,
            _complete_s(index, robot),
            len(index.births_us.get(robot, {})),
            sent[robot],
            lost[robot],
            _last_teacher(index, robot),
        )
        for robot in sorted(index.robots, key=lambda name: (len(name), name))
    ]


def slowest(figures: Iterable[RobotFigures], count: int) -> list[RobotFigures]:
    """Those that were complete last, or never; the slowest first."""
    return sorted(figures, key=lambda each: (each.complete_s is not None, -(each.complete_s or 0.0)))[:count]


def _complete_s(index: RunIndex, robot: str) -> float | None:
    """As its journal has it, where the times of the result come from."""
    completed_us = min((row.at_us for row in index.robots[robot].completed), default=index.completed_us(robot))
    if completed_us is None or index.go_us is None:
        return None
    return max(0.0, index.after_go_s(completed_us))


def _last_teacher(index: RunIndex, robot: str) -> str:
    part = index.last_part(robot)
    learnt = None if part is None else index.learnt(robot, part)
    return learnt.cause[0] if learnt is not None and learnt.cause is not None else ""
