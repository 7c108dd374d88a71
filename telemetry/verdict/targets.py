"""Whom a fault concerns, once more from the specification: `r03`, `r03>r05`, `r00..r02|r03..r05`, or everyone.

Only robots' numbers count. What a fault does to those it concerns means nothing here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_ROBOT: Final = re.compile(r"r([0-9]{1,15})", re.ASCII)

Side = tuple[range, ...]


@lru_cache(maxsize=1 << 16)
def number_of(robot: str | None) -> int | None:
    """The number in a robot's name; None for a name that no robot bears."""
    match = _ROBOT.fullmatch(robot or "")
    return int(match[1]) if match else None


@dataclass(frozen=True)
class Target:
    """One side: what comes from it or goes to it. Two, `one_way`: what goes from the first to the second. Otherwise
    what goes between any two of the sides. None at all: everything.
    """

    sides: tuple[Side, ...] = ()
    one_way: bool = False

    def selects(self, sender: int | None, receiver: int | None) -> bool:
        """Whether an envelope from `sender` to `receiver` is meant (None: no robot, meant by no side)."""
        if not self.sides:
            return True
        if len(self.sides) == 1:
            return _holds(self.sides[0], sender) or _holds(self.sides[0], receiver)
        origins = [place for place, side in enumerate(self.sides) if _holds(side, sender)]
        ends = [place for place, side in enumerate(self.sides) if _holds(side, receiver)]
        if self.one_way:
            return 0 in origins and 1 in ends
        return any(origin != end for origin in origins for end in ends)


EVERYONE: Final = Target()


def read_target(text: str) -> Target:
    """The target that `text` means. Raises ValueError for what means none."""
    if ">" in text:
        origin, end = text.split(">")
        return Target((_side(origin), _side(end)), one_way=True)
    return Target(tuple(map(_side, text.split("|"))))


def _side(text: str) -> Side:
    return tuple(map(_span, text.split(",")))


def _span(text: str) -> range:
    first, _, last = text.partition("..")
    low, high = number_of(first), number_of(last or first)
    if low is None or high is None or high < low:
        raise ValueError(text)
    return range(low, high + 1)


def _holds(side: Side, robot: int | None) -> bool:
    return robot is not None and any(robot in span for span in side)
