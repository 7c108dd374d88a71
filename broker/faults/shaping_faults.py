"""The faults of messages that shape deliveries: of the deliveries of an envelope each makes other ones (`apply`).

Deliveries are a tuple of delays in microseconds, one per copy: () is lost, (0,) delivered, (0, 0) twice, (300000,)
late. Each fault is a small pure piece of data that knows its effect, its text, and how that is read. Probability 0
changes nothing. All other faults of messages stand in broker/faults/message_faults.py, which names these in its table.
"""

from __future__ import annotations

import re
from fractions import Fraction
from math import exp
from statistics import NormalDist
from typing import ClassVar, Final, Self

import msgspec

from broker.faults.dice import Draws
from broker.faults.syntax import (
    Timeless,
    Token,
    Tokens,
    format_duration,
    format_number,
    join_words,
    read_number,
    read_probability,
    read_time,
)
from broker.faults.target import EVERYONE, Target, optional_target

Deliveries = tuple[int, ...]
REORDER_US: Final = (10_000, 50_000)  # the extra delay of a reordered copy, unless another one is given
LONGEST_DELAY_US: Final = 60_000_000
MOST_COPIES: Final = 10
LARGEST_SIGMA: Final = 3.0
_COPIES: Final = re.compile(r"x([0-9]{1,3})")
_DELAY_HELP: Final = "a delay such as 20ms, 5ms..20ms or 20ms~0.5 (median, sigma)"
_HALF_STEP: Final = 2.0**-33  # a die has 2^32 faces; its middle is never 0 or 1
_normal = NormalDist().inv_cdf


class ChanceFault(msgspec.Struct, frozen=True):
    """What faults have in common that act on an envelope or a copy with probability `p`, and have no other argument."""

    name: ClassVar[str]
    p: float
    target: Target = EVERYONE

    @property
    def is_noop(self) -> bool:
        return self.p == 0

    def text(self) -> str:
        return join_words(self.name, format_number(self.p), self.target.text())

    @classmethod
    def read(cls, words: Tokens) -> Self:
        return cls(read_probability(words.take()), optional_target(words))


class Loss(ChanceFault, Timeless, frozen=True):
    """With probability `p` no copy is delivered."""

    name: ClassVar[str] = "loss"

    def apply(self, deliveries: Deliveries, draws: Draws, instance: int) -> Deliveries:
        return () if draws.number(instance, 0, 0) < self.p else deliveries


class Duplicate(Timeless, frozen=True):
    """With probability `p` the first copy is delivered `copies` times."""

    name: ClassVar[str] = "duplicate"
    p: float
    copies: int = 2
    target: Target = EVERYONE

    def apply(self, deliveries: Deliveries, draws: Draws, instance: int) -> Deliveries:
        if deliveries and draws.number(instance, 0, 0) < self.p:
            return deliveries + deliveries[:1] * (self.copies - 1)
        return deliveries

    @property
    def is_noop(self) -> bool:
        return self.p == 0

    def text(self) -> str:
        copies = "" if self.copies == 2 else f"x{self.copies}"
        return join_words(self.name, format_number(self.p), copies, self.target.text())

    @classmethod
    def read(cls, words: Tokens) -> Duplicate:
        p = read_probability(words.take())
        if not words.peek().startswith("x"):
            return cls(p, 2, optional_target(words))
        word = words.take()
        match = _COPIES.fullmatch(word.text)
        if match is None or not 2 <= int(match[1]) <= MOST_COPIES:
            raise word.syntax_error(f"a number of copies from x2 to x{MOST_COPIES}")
        return cls(p, int(match[1]), optional_target(words))


class Delay(msgspec.Struct, frozen=True):
    """Every copy is held back, by a time uniform between `low_us` and `high_us`."""

    name: ClassVar[str] = "delay"
    low_us: int
    high_us: int
    target: Target = EVERYONE

    def apply(self, deliveries: Deliveries, draws: Draws, instance: int) -> Deliveries:
        low, interval = self.low_us, self.high_us - self.low_us
        if len(deliveries) == 1:  # nearly always
            return (deliveries[0] + low + int(draws.number(instance, 0, 0) * interval),)
        return tuple(
            so_far + low + int(draws.number(instance, copy, 0) * interval) for copy, so_far in enumerate(deliveries)
        )

    @property
    def median_us(self) -> int:
        return (self.low_us + self.high_us) // 2

    @property
    def is_noop(self) -> bool:
        return self.high_us == 0

    def stretched(self, factor: Fraction) -> Delay:
        return Delay(round(self.low_us * factor), round(self.high_us * factor), self.target)

    def text(self) -> str:
        return join_words(self.name, _interval_text(self.low_us, self.high_us), self.target.text())

    @classmethod
    def read(cls, words: Tokens) -> Delay | LognormalDelay:
        law = words.take()
        if "~" in law.text:
            return LognormalDelay.read(law, words)
        return cls(*_interval(law), optional_target(words))


class LognormalDelay(msgspec.Struct, frozen=True):
    """Every copy is held back, by a time whose logarithm is normal: mostly about `median_us`, now and then far longer.

    The time is median · exp(sigma · z), rounded, at most a minute; z is the standard normal quantile of u + 2⁻³³.
    """

    name: ClassVar[str] = "delay"
    is_noop: ClassVar[bool] = False
    median_us: int
    sigma: float
    target: Target = EVERYONE

    def apply(self, deliveries: Deliveries, draws: Draws, instance: int) -> Deliveries:
        return tuple(so_far + self._time_us(draws.number(instance, copy, 0)) for copy, so_far in enumerate(deliveries))

    def _time_us(self, u: float) -> int:
        return min(LONGEST_DELAY_US, round(self.median_us * exp(self.sigma * _normal(u + _HALF_STEP))))

    def stretched(self, factor: Fraction) -> LognormalDelay:
        return LognormalDelay(max(1, round(self.median_us * factor)), self.sigma, self.target)

    def text(self) -> str:
        return join_words(
            self.name, f"{format_duration(self.median_us)}~{format_number(self.sigma)}", self.target.text()
        )

    @classmethod
    def read(cls, law: Token, words: Tokens) -> LognormalDelay:
        median, sigma = law.cut("~")
        median_us = _delay_time(median)
        if median_us == 0:
            raise median.syntax_error("a median above 0")
        assert sigma is not None
        return cls(median_us, _sigma(sigma), optional_target(words))


class Reorder(msgspec.Struct, frozen=True):
    """With probability `p` a copy is held back by a further time, uniform between `low_us` and `high_us`, so that later
    ones overtake it."""

    name: ClassVar[str] = "reorder"
    p: float
    target: Target = EVERYONE
    low_us: int = REORDER_US[0]
    high_us: int = REORDER_US[1]

    def apply(self, deliveries: Deliveries, draws: Draws, instance: int) -> Deliveries:
        low, interval = self.low_us, self.high_us - self.low_us
        return tuple(
            so_far + low + int(draws.number(instance, copy, 1) * interval)
            if draws.number(instance, copy, 0) < self.p
            else so_far
            for copy, so_far in enumerate(deliveries)
        )

    @property
    def is_noop(self) -> bool:
        return self.p == 0

    def stretched(self, factor: Fraction) -> Reorder:
        return Reorder(self.p, self.target, round(self.low_us * factor), round(self.high_us * factor))

    def text(self) -> str:
        is_usual = (self.low_us, self.high_us) == REORDER_US
        interval = "" if is_usual else _interval_text(self.low_us, self.high_us)
        return join_words(self.name, format_number(self.p), interval, self.target.text())

    @classmethod
    def read(cls, words: Tokens) -> Reorder:
        p = read_probability(words.take())
        if not words.peek()[:1].isdigit():
            return cls(p, optional_target(words))
        low_us, high_us = _interval(words.take())
        return cls(p, optional_target(words), low_us, high_us)


Shaping = Loss | Duplicate | Delay | LognormalDelay | Reorder


# What arguments are made of.


def _sigma(word: Token) -> float:
    allowed = f"a sigma above 0, up to {format_number(LARGEST_SIGMA)}"
    sigma = read_number(word, 0, LARGEST_SIGMA, allowed)
    if sigma == 0:
        raise word.syntax_error(allowed)
    return sigma


def _interval(word: Token) -> tuple[int, int]:
    """The shortest and the longest of the times that a word such as `5ms..20ms` or `20ms` means."""
    low, high = word.cut("..")
    low_us = _delay_time(low)
    high_us = low_us if high is None else _delay_time(high)
    if high_us < low_us:
        raise word.syntax_error("two times with the shorter one first: 5ms..20ms")
    return low_us, high_us


def _interval_text(low_us: int, high_us: int) -> str:
    low, high = format_duration(low_us), format_duration(high_us)
    return low if low == high else f"{low}..{high}"


def _delay_time(word: Token) -> int:
    microseconds = 0 if word.text == "0" else read_time(word, _DELAY_HELP)
    if microseconds > LONGEST_DELAY_US:
        raise word.syntax_error(f"a delay of at most {format_duration(LONGEST_DELAY_US)}")
    return microseconds
