"""Which envelopes a fault is for, by their senders and receivers, and the text of that.

`r03` is everything to or from a robot, `r03>r05` one direction, `r00..r02|r03..r05` between groups, in both directions.
A side is a comma list of robots and ranges. Robots are named by number, so `r3`, `r03` and `r003` are the same one.
What a fault does to the envelopes it selects is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from broker.faults.syntax import Token, Tokens, whole

Side = tuple[tuple[int, int], ...]
"""Robots as ranges (first and last number), in order, with a gap between each and the next: see `side_of`."""

TARGET_HELP: Final = "a target such as r03, r03>r05 or r00..r02|r03..r05"
_ROBOT: Final = re.compile(r"r([0-9]{1,7})")
_ROBOT_HELP: Final = "a robot such as r03, or a range such as r00..r02"


class Target(msgspec.Struct, frozen=True):
    """No side: everyone. One: whatever goes to or from a robot of it. More: what goes from a robot of one side to a
    robot of another one; only from the first to the second when `is_one_way`."""

    sides: tuple[Side, ...] = ()
    is_one_way: bool = False

    def selects(self, sender: int, receiver: int) -> bool:
        """Whether envelopes from robot `sender` to robot `receiver` are meant."""
        if not self.sides:
            return True
        sending = [_is_in(sender, side) for side in self.sides]
        receiving = [_is_in(receiver, side) for side in self.sides]
        if len(self.sides) == 1:
            return sending[0] or receiving[0]
        if self.is_one_way:
            return sending[0] and receiving[1]
        return any(
            from_one and to_other
            for one, from_one in enumerate(sending)
            for other, to_other in enumerate(receiving)
            if one != other
        )

    @property
    def highest(self) -> int | None:
        """The highest number of a robot that is named; None when none is."""
        return max((side[-1][1] for side in self.sides), default=None)

    @property
    def is_empty(self) -> bool:
        """Whether it selects nothing, because all its sides are one and the same robot."""
        first, *others = self.sides or (((0, 1),),)
        (low, high), *gaps = first
        return bool(others) and not gaps and low == high and all(side == first for side in others)

    def text(self) -> str:
        """What `parse_target` reads back; empty for everyone."""
        return (">" if self.is_one_way else "|").join(map(_side_text, self.sides))


EVERYONE: Final = Target()


def side_of(ranges: Iterable[tuple[int, int]]) -> Side:
    """The robots of all `ranges` (first and last number), as a side."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return tuple(joined)


def parse_target(text: str) -> Target:
    """The target that a text means; an empty one means everyone. Raises PlanSyntaxError."""
    words = whole(text).words()
    if len(words) > 1:
        raise words[1].syntax_error("one target, without white space")
    return read_target(words[0]) if words else EVERYONE


def read_target(word: Token) -> Target:
    """The target that a word means. Raises PlanSyntaxError."""
    sender, receiver = word.cut(">")
    if receiver is not None:
        return Target((_side(sender), _side(receiver)), is_one_way=True)
    return Target(tuple(map(_side, word.split("|"))))


def optional_target(words: Tokens) -> Target:
    """The target, if the next word looks like one, and everyone otherwise. Raises PlanSyntaxError."""
    return read_target(words.take()) if words.peek().startswith("r") else EVERYONE


def _side(word: Token) -> Side:
    return side_of(map(_range, word.split(",")))


def _range(word: Token) -> tuple[int, int]:
    low, high = word.cut("..")
    first = _robot(low)
    last = first if high is None else _robot(high)
    if last < first:
        raise word.syntax_error("a range with the lower number first, such as r00..r02")
    return first, last


def _robot(word: Token) -> int:
    match = _ROBOT.fullmatch(word.text)
    if match is None:
        raise word.syntax_error(_ROBOT_HELP)
    return int(match[1])


def _is_in(robot: int, side: Side) -> bool:
    return any(first <= robot <= last for first, last in side)


def _side_text(side: Side) -> str:
    return ",".join(_range_text(first, last) for first, last in side)


def _range_text(first: int, last: int) -> str:
    if first == last:
        return f"r{first:02d}"
    return f"r{first:02d}{',' if last == first + 1 else '..'}r{last:02d}"
