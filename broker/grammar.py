"""How a line of a fault plan is written: `NAME ARGS [TARGET] [@start[+duration]] [every T]`. The only parser.

Reading is total: any text gives lines or Misspelt, which points at the word that is wrong and says what is allowed.
Each part prints itself (`text()`), and what it prints reads back as exactly that. A fault of processes is always dated
(without a time it is due at go), and needs no duration before `every`; a pause alone has one, and must have it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from math import ceil
from typing import ClassVar, Final, TypeVar

import msgspec

from broker.deed_readers import DEED_READERS
from broker.deeds import Pause, ProcessFault
from broker.durations import format_duration, parse_duration
from broker.faults import (
    LONGEST_DELAY_US,
    AnyFault,
    BurstLoss,
    Corrupt,
    Delay,
    Duplicate,
    LognormalDelay,
    Loss,
    Partition,
    Reorder,
    Throttle,
    plain,
)
from broker.spelling import Misspelt as Misspelt  # what every reading here raises
from broker.spelling import Word, Words, one_of, whole
from broker.targets import EVERYONE, TARGET_HELP, Target, read_target

T = TypeVar("T")

MOST_LINES: Final = 256
MOST_PER_SECOND: Final = 1_000_000.0
LEAST_PER_SECOND: Final = 0.001
LARGEST_SHARE: Final = 0.999999
LONGEST_BURST: Final = 1_000_000.0  # envelopes
MOST_COPIES: Final = 10
LARGEST_SIGMA: Final = 3.0
SHORTEST_EVERY_US: Final = 10_000

_NUMBER: Final = re.compile(r"([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
_COPIES: Final = re.compile(r"x([0-9]{1,3})")
_ROUNDING: Final = 1e-9
_DELAY_HELP: Final = "a delay such as 20ms, 5ms..20ms or 20ms~0.5 (median, sigma)"
_TIME_HELP: Final = "a time such as 20ms, 1.5s or 2m, at most a year"

Harm = AnyFault | ProcessFault


class When(msgspec.Struct, frozen=True):
    """From when a fault is in force, for how long, and how often again. Times count from the order `go`.

    No start: from the deal on. No duration: for good, or, for what is done in a moment, none. `every_us` counts from
    beginning to beginning.
    """

    start_us: int | None = None
    duration_us: int | None = None
    every_us: int | None = None

    def text(self) -> str:
        if self.start_us is None:
            return ""
        start = f"@{format_duration(self.start_us)}"
        duration = "" if self.duration_us is None else f"+{format_duration(self.duration_us)}"
        every = "" if self.every_us is None else f" every {format_duration(self.every_us)}"
        return start + duration + every


class Heal(msgspec.Struct, frozen=True):
    """Every fault that has begun by then ends, and does not come again."""

    name: ClassVar[str] = "heal"
    is_noop: ClassVar[bool] = False
    target: ClassVar[Target] = EVERYONE

    def text(self) -> str:
        return self.name


class Line(msgspec.Struct, frozen=True):
    """One line of a plan: a fault, and when."""

    fault: Harm | Heal
    when: When = When()

    @property
    def is_lasting(self) -> bool:
        """Whether it is for everyone and always; of such faults a plan has one per name."""
        is_deed = isinstance(self.fault, ProcessFault)
        return self.fault.target == EVERYONE and self.when == When() and not is_deed

    def text(self) -> str:
        """What `parse_line` reads back."""
        return f"{self.fault.text()} {self.when.text()}".rstrip()


def parse_line(text: str) -> Line:
    """The line that a text such as `partition r00|r01 @5s+2s` means. Raises Misspelt."""
    return _read_line(whole(text))


def parse_lines(text: str) -> list[Line]:
    """The lines of a text, with `;` between them; blank ones are skipped. Raises Misspelt."""
    return read_lines(whole(text))


def read_lines(text: Word) -> list[Line]:
    """`parse_lines` of a piece of a text."""
    pieces = [piece for piece in text.split(";") if piece.words()]
    if len(pieces) > MOST_LINES:
        raise pieces[MOST_LINES].words()[0].misspelt(f"a plan of {MOST_LINES} lines")
    return [_read_line(piece) for piece in pieces]


def parse_fault(text: str) -> AnyFault:
    """The fault that a text such as `delay 5ms..20ms r03` means, without a time. Raises Misspelt."""
    return read_fault(whole(text))


def read_fault(text: Word) -> AnyFault:
    """`parse_fault` of a piece of a text."""
    return _timeless(Words(text), _READERS)


def read_harm(text: Word) -> Harm:
    """The fault of messages or processes that a piece of a text means, without a time. Raises Misspelt."""
    return _timeless(Words(text), {**_READERS, **DEED_READERS})


def _timeless(words: Words, readers: Mapping[str, Callable[[Words], T]]) -> T:
    fault = _read_by_name(words, readers, readers)
    _end(words, "nothing more: here a fault bears no time")
    return fault


def _read_line(text: Word) -> Line:
    words = Words(text)
    if words.peek() == Heal.name:
        words.take()
        return _healing(words)
    names = [*_READERS, *DEED_READERS, Heal.name]
    if words.peek() in DEED_READERS:
        return _deed_line(words)
    fault = _read_by_name(words, _READERS, names)
    line = Line(fault, _when(words))
    _end(words, "nothing more" if line.when.start_us is not None else f"{_rest(fault)}a time such as @5s or @5s+2s")
    return line


def _read_by_name(words: Words, readers: Mapping[str, Callable[[Words], T]], names: Iterable[str]) -> T:
    name = words.take()
    reader = readers.get(name.text)
    if reader is None:
        raise name.misspelt(one_of(names, name.text))
    return reader(words)


def _rest(fault: AnyFault) -> str:
    return f"{TARGET_HELP}, or " if fault.target == EVERYONE else ""


def _end(words: Words, allowed: str) -> None:
    if words.peek():
        raise words.take().misspelt(allowed)


# Times of a line.


def _deed_line(words: Words) -> Line:
    fault = DEED_READERS[words.take().text](words)
    when = _pause_when(words) if isinstance(fault, Pause) else _moment(words, fault.name)
    allowed = "every" if when.every_us is None else "nothing more"
    _end(words, allowed if when.start_us else f"a time such as @5s, or {allowed}")
    return Line(fault, when)


def _pause_when(words: Words) -> When:
    help_ = "how long after when, such as @5s+2s"
    if not words.peek().startswith("@"):
        raise words.take().misspelt(help_)
    start, duration = words.take().cut("+")
    start_us = _start(start)
    if duration is None:
        raise start.misspelt(help_)
    duration_us = _above_zero(duration)
    return When(start_us, duration_us, _every(words, duration_us))


def _moment(words: Words, name: str) -> When:
    """The time of what takes none."""
    start_us = 0
    if words.peek().startswith("@"):
        start, duration = words.take().cut("+")
        start_us = _start(start)
        if duration is not None:
            raise duration.misspelt(f"nothing more: a {name} takes no time")
    return When(start_us, None, _every(words, 0))


def _healing(words: Words) -> Line:
    start, duration = words.take().cut("+")
    when = When(_start(start))
    if duration is not None:
        raise duration.misspelt("nothing more: to heal takes no time")
    _end(words, "nothing more: to heal is for everyone and once")
    return Line(Heal(), when)


def _when(words: Words) -> When:
    if not words.peek().startswith("@"):
        if words.peek() == "every":
            raise words.take().misspelt("every only after @start+duration")
        return When()
    start_word, duration_word = words.take().cut("+")
    start = _start(start_word)
    if duration_word is None:
        if words.peek() == "every":
            raise words.take().misspelt("every only after @start+duration")
        return When(start)
    duration = _above_zero(duration_word)
    return When(start, duration, _every(words, duration))


def _above_zero(word: Word) -> int:
    duration_us = _time(word)
    if duration_us == 0:
        raise word.misspelt("a duration above 0")
    return duration_us


def _start(word: Word) -> int:
    if not word.text.startswith("@"):
        raise word.misspelt("a time such as @5s")
    return _time(Word(word.whole, word.start + 1, word.end))


def _every(words: Words, duration_us: int) -> int | None:
    if words.peek() != "every":
        return None
    words.take()
    word = words.take()
    every = _time(word)
    if every <= duration_us or every < SHORTEST_EVERY_US:
        shortest = max(duration_us + 1, SHORTEST_EVERY_US)
        raise word.misspelt(f"a time of {format_duration(shortest)} or more, so that it ends before it comes again")
    return every


# What faults are made of.


def _partition(words: Words) -> AnyFault:
    is_hold = words.peek() == "hold"
    if is_hold:
        words.take()
    if not words.peek().startswith("r"):
        raise words.take().misspelt(TARGET_HELP if is_hold else f"hold, or {TARGET_HELP}")
    return Partition(read_target(words.take()), is_hold)


def _burst_loss(words: Words) -> AnyFault:
    share = _number(words.take(), 0, LARGEST_SHARE, f"a share from 0 to {LARGEST_SHARE}")
    if share == 0 and not _NUMBER.match(words.peek()):
        return BurstLoss(0.0, 1.0, _target(words))
    word = words.take()
    length = _number(word, 1, LONGEST_BURST, f"a mean length from 1 to {plain(LONGEST_BURST)} envelopes")
    if BurstLoss(share, length).onset > 1 + _ROUNDING:
        shortest = ceil((share / (1 - share) - _ROUNDING) * 1000) / 1000
        raise word.misspelt(f"a mean length of {plain(shortest)} envelopes or more, for a share of {plain(share)}")
    return BurstLoss(share, length, _target(words))


def _loss(words: Words) -> AnyFault:
    return Loss(_probability(words), _target(words))


def _duplicate(words: Words) -> AnyFault:
    p = _probability(words)
    if not words.peek().startswith("x"):
        return Duplicate(p, 2, _target(words))
    word = words.take()
    match = _COPIES.fullmatch(word.text)
    if match is None or not 2 <= int(match[1]) <= MOST_COPIES:
        raise word.misspelt(f"a number of copies from x2 to x{MOST_COPIES}")
    return Duplicate(p, int(match[1]), _target(words))


def _delay(words: Words) -> AnyFault:
    law = words.take()
    median, sigma = law.cut("~")
    if sigma is not None:
        median_us = _delay_time(median)
        if median_us == 0:
            raise median.misspelt("a median above 0")
        return LognormalDelay(median_us, _sigma(sigma), _target(words))
    low, high = law.cut("..")
    low_us = _delay_time(low)
    high_us = low_us if high is None else _delay_time(high)
    if high_us < low_us:
        raise law.misspelt("two times with the shorter one first: 5ms..20ms")
    return Delay(low_us, high_us, _target(words))


def _reorder(words: Words) -> AnyFault:
    return Reorder(_probability(words), _target(words))


def _corrupt(words: Words) -> AnyFault:
    return Corrupt(_probability(words), _target(words))


def _throttle(words: Words) -> AnyFault:
    word = words.take()
    allowed = f"a rate from {plain(LEAST_PER_SECOND)}/s to {plain(MOST_PER_SECOND)}/s"
    if not word.text.endswith("/s"):
        raise word.misspelt(allowed)
    rate = _number(Word(word.whole, word.start, word.end - 2), LEAST_PER_SECOND, MOST_PER_SECOND, allowed)
    return Throttle(rate, _target(words))


_READERS: Final[dict[str, Callable[[Words], AnyFault]]] = {
    "partition": _partition,
    "burst-loss": _burst_loss,
    "loss": _loss,
    "duplicate": _duplicate,
    "delay": _delay,
    "reorder": _reorder,
    "corrupt": _corrupt,
    "throttle": _throttle,
}


def _target(words: Words) -> Target:
    """The target, if one is named; whatever else comes is for those to judge who read on."""
    return read_target(words.take()) if words.peek().startswith("r") else EVERYONE


def _probability(words: Words) -> float:
    return _number(words.take(), 0, 1, "a probability from 0 to 1")


def _sigma(word: Word) -> float:
    allowed = f"a sigma above 0, up to {plain(LARGEST_SIGMA)}"
    sigma = _number(word, 0, LARGEST_SIGMA, allowed)
    if sigma == 0:
        raise word.misspelt(allowed)
    return sigma


def _number(word: Word, low: float, high: float, allowed: str) -> float:
    if not _NUMBER.fullmatch(word.text) or not low <= float(word.text) <= high:
        raise word.misspelt(allowed)
    return float(word.text)


def _delay_time(word: Word) -> int:
    microseconds = 0 if word.text == "0" else _time(word, _DELAY_HELP)
    if microseconds > LONGEST_DELAY_US:
        raise word.misspelt(f"a delay of at most {format_duration(LONGEST_DELAY_US)}")
    return microseconds


def _time(word: Word, allowed: str = _TIME_HELP) -> int:
    try:
        return parse_duration(word.text)
    except ValueError:
        raise word.misspelt(allowed) from None
