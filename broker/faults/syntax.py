"""The pieces that the text of a plan is made of: words and their places, numbers, and lengths of time.

An error points at the very word that is wrong, and names what is allowed there. What a word means is known elsewhere:
broker/faults/grammar.py for lines and times, each kind of fault for its own arguments, broker/faults/target.py for
targets. Lengths of time (`100ms`, `1.5s`, `2m`) are whole microseconds inside, never floats.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Final, Generic, NamedTuple, Self, TypeVar

import msgspec

T = TypeVar("T", covariant=True)

LONGEST_TEXT: Final = 4096  # characters
_SHOWN: Final = 60  # characters of a text or a word that an error repeats


class PlanSyntaxError(ValueError):
    """A text that the language does not have. As a string it is one line.

    `column` (from 0) is where in `text` the wrong `word` stands; an empty word means that one is missing there.
    `allowed` says what may stand in its place.
    """

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
        """The error that points here."""
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


def join_words(*words: str) -> str:
    """The words that are not empty, with blanks between them."""
    return " ".join(filter(None, words))


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def _around(text: str, column: int) -> str:
    """The text, or of a long one what stands around the column."""
    if len(text) <= 2 * _SHOWN:
        return repr(text)
    start = max(0, column - _SHOWN)
    end = column + _SHOWN
    return repr(("…" if start else "") + text[start:end] + ("…" if end < len(text) else ""))


# Numbers and times.

NUMBER: Final = re.compile(r"([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
_UNITS_US: Final = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(us|ms|s|m|h)")
_LONGEST_US: Final = 366 * 24 * _UNITS_US["h"]
_TIME_HELP: Final = "a time such as 20ms, 1.5s or 2m, at most a year"


def read_number(word: Token, low: float, high: float, allowed: str) -> float:
    """The number, from `low` to `high`, that a word is. Raises PlanSyntaxError that says what is `allowed`."""
    if not NUMBER.fullmatch(word.text) or not low <= float(word.text) <= high:
        raise word.syntax_error(allowed)
    return float(word.text)


def read_probability(word: Token) -> float:
    """A number from 0 to 1. Raises PlanSyntaxError."""
    return read_number(word, 0, 1, "a probability from 0 to 1")


def format_number(number: float) -> str:
    """The shortest text that reads back as exactly `number`."""
    return repr(float(number)).removesuffix(".0")


def read_time(word: Token, allowed: str = _TIME_HELP) -> int:
    """The microseconds that a word is. Raises PlanSyntaxError that says what is `allowed`."""
    try:
        return parse_duration(word.text)
    except ValueError:
        raise word.syntax_error(allowed) from None


def parse_duration(text: str) -> int:
    """Microseconds of a text such as `20ms`. Raises ValueError that says what is allowed."""
    match = _DURATION.fullmatch(text.strip())
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


# What the language knows of a kind of fault.


class Timeless(msgspec.Struct, frozen=True):
    """A fault that holds no time of its own (its line may have times)."""

    def stretched(self, factor: Fraction) -> Self:  # noqa: ARG002  nothing in it takes longer
        """The same in a run in which everything takes `factor` times as long."""
        return self


class FaultKind(NamedTuple, Generic[T]):
    """One row of the registry (broker/faults/registry.py): a kind of fault as people write it and read about it.

    `syntax`: examples of whole lines, the most usual first. `help`: one line, for help texts and the README.
    `option`: the metavariable of its own option in the commands that begin a run; None when it has none.
    """

    name: str
    read: Callable[[Tokens], T]
    """Reads the arguments that follow the name. Raises PlanSyntaxError."""
    syntax: tuple[str, ...]
    help: str
    option: str | None = None
