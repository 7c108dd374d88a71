"""Words of a text and where they stand in it, so that a complaint can point at the very one that is wrong.

What any word means is known elsewhere: broker/faults/syntax.py and broker/faults/grammar.py.

Whom a fault is for: which senders and receivers it selects, and the text of that.

`r03` is everything to or from a robot, `r03>r05` one way, `r00..r02|r03..r05` between groups, both ways. A side is a
comma list of robots and ranges. Robots are meant by number, so `r3`, `r03` and `r003` are the same one.

Lengths of time as people write them: `100ms`, `1.5s`, `2m`. Inside they are whole microseconds, never floats.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Final

import msgspec

_UNITS_US = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
_SHAPE = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(us|ms|s|m|h)")
_LONGEST_US = 366 * 24 * _UNITS_US["h"]


def parse_duration(text: str) -> int:
    """Microseconds of a text such as `20ms`. Raises ValueError that says what is allowed."""
    match = _SHAPE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a time; write a number and a unit: 20ms, 1.5s, 2m (us, ms, s, m, h)")
    microseconds = float(match[1]) * _UNITS_US[match[2]]
    if microseconds > _LONGEST_US:  # infinity too
        raise ValueError(f"{text!r} is too long; at most a year")
    return round(microseconds)


def format_duration(microseconds: int) -> str:
    """The shortest text that `parse_duration` reads back as exactly `microseconds` (≥ 0)."""
    if microseconds == 0:
        return "0s"
    for unit in ("h", "m", "s", "ms", "us"):
        if microseconds % _UNITS_US[unit] == 0:
            return f"{microseconds // _UNITS_US[unit]}{unit}"
    raise AssertionError("one microsecond divides every whole number")


LONGEST_TEXT: Final = 4096  # characters
_SHOWN: Final = 60  # characters of a text or a word that a complaint repeats


class PlanSyntaxError(ValueError):
    """A text that means nothing here. `column` (from 0) is where in `text` the wrong `word` stands; an empty word means
    that one is missing there. `allowed` says what may stand in its place. As a string it is one line."""

    def __init__(self, text: str, column: int, word: str, allowed: str) -> None:
        self.text = text
        self.column = column
        self.word = word
        self.allowed = allowed
        before = text[:column].split()[-1:]
        place = f", at {_shown(word)}" if word else f", after {_shown(before[0])}" if before else ""
        super().__init__(f"in {_around(text, column)}{place}: allowed is {allowed}")


def whole(text: str) -> Token:
    """All of `text`. Raises PlanSyntaxError when it is longer than any that is read."""
    if len(text) > LONGEST_TEXT:
        raise PlanSyntaxError(
            text, LONGEST_TEXT, text[LONGEST_TEXT : LONGEST_TEXT + 1], f"a text of {LONGEST_TEXT} characters"
        )
    return Token(text, 0, len(text))


class Token(msgspec.Struct, frozen=True):
    """A piece of `whole`, from `start` to before `end`."""

    whole: str
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.whole[self.start : self.end]

    def split(self, separator: str) -> list[Token]:
        """The pieces between separators, empty ones too."""
        pieces: list[Token] = []
        rest: Token | None = self
        while rest is not None:
            piece, rest = rest.cut(separator)
            pieces.append(piece)
        return pieces

    def cut(self, separator: str) -> tuple[Token, Token | None]:
        """The pieces before and after the first separator; None when there is none."""
        place = self.whole.find(separator, self.start, self.end)
        if place < 0:
            return self, None
        return Token(self.whole, self.start, place), Token(self.whole, place + len(separator), self.end)

    def words(self) -> list[Token]:
        """The pieces between white space."""
        found = re.compile(r"\S+").finditer(self.whole, self.start, self.end)
        return [Token(self.whole, *match.span()) for match in found]

    def syntax_error(self, allowed: str) -> PlanSyntaxError:
        """The complaint that points here."""
        return PlanSyntaxError(self.whole, self.start, self.text, allowed)


class Tokens:
    """The words of a line, taken one after the other. Past the last one stands an empty word."""

    def __init__(self, line: Token) -> None:
        self._words = line.words()
        end = self._words[-1].end if self._words else line.start
        self._words.append(Token(line.whole, end, end))
        self._next = 0

    def peek(self) -> str:
        """The text of the next word; empty at the end."""
        return self._words[self._next].text

    def take(self) -> Token:
        """The next word."""
        word = self._words[self._next]
        self._next = min(self._next + 1, len(self._words) - 1)
        return word


def one_of(names: Iterable[str], instead_of: str) -> str:
    """What is allowed where a name is not known: all of them, and the nearest one."""
    known = list(names)
    near = difflib.get_close_matches(instead_of[:_SHOWN], known, 1)
    return ", ".join(known) + (f"; did you mean {near[0]}?" if near else "")


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def _around(text: str, column: int) -> str:
    """The text, or of a long one what stands around the column."""
    if len(text) <= 2 * _SHOWN:
        return repr(text)
    start = max(0, column - _SHOWN)
    end = column + _SHOWN
    return repr(("…" if start else "") + text[start:end] + ("…" if end < len(text) else ""))


_TIME_HELP: Final = "a time such as 20ms, 1.5s or 2m, at most a year"


def _time(word: Token, allowed: str = _TIME_HELP) -> int:
    try:
        return parse_duration(word.text)
    except ValueError:
        raise word.syntax_error(allowed) from None


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
