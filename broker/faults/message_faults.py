"""The faults of messages: each a small pure piece of data that knows its effect, its text, and how that is read.

A fate is a tuple of delays in microseconds, one per copy: () is lost, (0,) delivered, (0, 0) twice, (300000,) late.
Nothing else in the project knows what a fault does to a message. Probability 0 changes nothing. How faults act
together, broker/faults/fate.py says. A new fault is a class here, a place in a union, and a row of MESSAGE_FAULTS.
"""

from __future__ import annotations

import re
from math import ceil, exp
from statistics import NormalDist
from typing import ClassVar, Final

import msgspec

from broker.faults.dice import Draws
from broker.faults.syntax import (
    NUMBER,
    FaultKind,
    Token,
    Tokens,
    format_duration,
    format_number,
    read_number,
    read_time,
)
from broker.faults.target import EVERYONE, TARGET_HELP, Target, read_target

Deliveries = tuple[int, ...]
REORDER_US: Final = (10_000, 50_000)  # the extra delay of a reordered copy, uniform
LONGEST_DELAY_US: Final = 60_000_000
MOST_PER_SECOND: Final = 1_000_000.0
LEAST_PER_SECOND: Final = 0.001
LARGEST_SHARE: Final = 0.999999
LONGEST_BURST: Final = 1_000_000.0  # envelopes
MOST_COPIES: Final = 10
LARGEST_SIGMA: Final = 3.0
_COPIES: Final = re.compile(r"x([0-9]{1,3})")
_ROUNDING: Final = 1e-9
_DELAY_HELP: Final = "a delay such as 20ms, 5ms..20ms or 20ms~0.5 (median, sigma)"
_HALF_STEP: Final = 2.0**-33  # a die has 2^32 faces; its middle is never 0 or 1
_normal = NormalDist().inv_cdf


class Loss(msgspec.Struct, frozen=True):
    """With probability `p` no copy is delivered."""

    name: ClassVar[str] = "loss"
    p: float
    target: Target = EVERYONE

    def apply(self, deliveries: Deliveries, draws: Draws, instance: int) -> Deliveries:
        return () if draws.number(instance, 0, 0) < self.p else deliveries

    @property
    def is_noop(self) -> bool:
        return self.p == 0

    def text(self) -> str:
        return _text(self.name, format_number(self.p), self.target.text())

    @classmethod
    def read(cls, words: Tokens) -> Loss:
        return cls(_probability(words), _target(words))


class BurstLoss(msgspec.Struct, frozen=True):
    """In the long run `share` of what one robot sends to another is lost, in bursts of `length` envelopes on average.

    A chain of two states (Gilbert and Elliott) over the numbers 1, 2, 3 … of a pair and a life; bad is lost. u(i) is
    the number of instance, copy 0 and draw 0 for the envelope numbered i, whether that was sent or not:
    state(i) for i ≡ 1 mod 1024: bad iff u(i) < share;
    any other i: after bad, bad iff u(i) ≥ `recovery`; after good, bad iff u(i) < `onset`.
    The new beginning at every 1024th number bounds the work to find a state: see broker/faults/fate.py.
    """

    name: ClassVar[str] = "burst-loss"
    share: float
    length: float
    target: Target = EVERYONE

    @property
    def recovery(self) -> float:
        """The probability that good follows bad."""
        return 1 / self.length

    @property
    def onset(self) -> float:
        """The probability that bad follows good."""
        return self.recovery * self.share / (1 - self.share)

    @property
    def is_noop(self) -> bool:
        return self.share == 0

    def text(self) -> str:
        return _text(self.name, format_number(self.share), format_number(self.length), self.target.text())

    @classmethod
    def read(cls, words: Tokens) -> BurstLoss:
        share = read_number(words.take(), 0, LARGEST_SHARE, f"a share from 0 to {LARGEST_SHARE}")
        if share == 0 and not NUMBER.match(words.peek()):
            return cls(0.0, 1.0, _target(words))
        word = words.take()
        length = read_number(
            word, 1, LONGEST_BURST, f"a mean length from 1 to {format_number(LONGEST_BURST)} envelopes"
        )
        if cls(share, length).onset > 1 + _ROUNDING:
            shortest = format_number(ceil((share / (1 - share) - _ROUNDING) * 1000) / 1000)
            allowed = f"a mean length of {shortest} envelopes or more, for a share of {format_number(share)}"
            raise word.syntax_error(allowed)
        return cls(share, length, _target(words))


class Duplicate(msgspec.Struct, frozen=True):
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
        return _text(self.name, format_number(self.p), copies, self.target.text())

    @classmethod
    def read(cls, words: Tokens) -> Duplicate:
        p = _probability(words)
        if not words.peek().startswith("x"):
            return cls(p, 2, _target(words))
        word = words.take()
        match = _COPIES.fullmatch(word.text)
        if match is None or not 2 <= int(match[1]) <= MOST_COPIES:
            raise word.syntax_error(f"a number of copies from x2 to x{MOST_COPIES}")
        return cls(p, int(match[1]), _target(words))


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

    def text(self) -> str:
        low, high = format_duration(self.low_us), format_duration(self.high_us)
        return _text(self.name, low if low == high else f"{low}..{high}", self.target.text())

    @classmethod
    def read(cls, words: Tokens) -> Delay | LognormalDelay:
        law = words.take()
        if "~" in law.text:
            return LognormalDelay.read(law, words)
        low, high = law.cut("..")
        low_us = _delay_time(low)
        high_us = low_us if high is None else _delay_time(high)
        if high_us < low_us:
            raise law.syntax_error("two times with the shorter one first: 5ms..20ms")
        return cls(low_us, high_us, _target(words))


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

    def text(self) -> str:
        return _text(self.name, f"{format_duration(self.median_us)}~{format_number(self.sigma)}", self.target.text())

    @classmethod
    def read(cls, law: Token, words: Tokens) -> LognormalDelay:
        median, sigma = law.cut("~")
        median_us = _delay_time(median)
        if median_us == 0:
            raise median.syntax_error("a median above 0")
        assert sigma is not None
        return cls(median_us, _sigma(sigma), _target(words))


class Reorder(msgspec.Struct, frozen=True):
    """With probability `p` a copy is held back by a further 10..50 ms (uniform), so that later ones overtake it."""

    name: ClassVar[str] = "reorder"
    p: float
    target: Target = EVERYONE

    def apply(self, deliveries: Deliveries, draws: Draws, instance: int) -> Deliveries:
        low, high = REORDER_US
        return tuple(
            so_far + low + int(draws.number(instance, copy, 1) * (high - low))
            if draws.number(instance, copy, 0) < self.p
            else so_far
            for copy, so_far in enumerate(deliveries)
        )

    @property
    def is_noop(self) -> bool:
        return self.p == 0

    def text(self) -> str:
        return _text(self.name, format_number(self.p), self.target.text())

    @classmethod
    def read(cls, words: Tokens) -> Reorder:
        return cls(_probability(words), _target(words))


class Corrupt(msgspec.Struct, frozen=True):
    """With probability `p` all copies arrive with one bit of the body flipped."""

    name: ClassVar[str] = "corrupt"
    p: float
    target: Target = EVERYONE

    def damage(self, draws: Draws, instance: int) -> float | None:
        """Where in the body the flipped bit stands, as a share of it in [0, 1); None when none is flipped."""
        return draws.number(instance, 0, 1) if draws.number(instance, 0, 0) < self.p else None

    @property
    def is_noop(self) -> bool:
        return self.p == 0

    def text(self) -> str:
        return _text(self.name, format_number(self.p), self.target.text())

    @classmethod
    def read(cls, words: Tokens) -> Corrupt:
        return cls(_probability(words), _target(words))


class Throttle(msgspec.Struct, frozen=True):
    """At most `per_second` envelopes a second pass from one robot to another; the others wait, but none longer than 5 s
    (broker/relay/state.py): what would wait longer passes then, faster than `per_second`.

    No plan can decide how long an envelope waits: that depends on those before it, which only the relay knows.
    """

    name: ClassVar[str] = "throttle"
    is_noop: ClassVar[bool] = False
    per_second: float
    target: Target = EVERYONE

    @property
    def gap_us(self) -> int:
        """The time from one envelope to the next."""
        return round(1_000_000 / self.per_second)

    def text(self) -> str:
        return _text(self.name, f"{format_number(self.per_second)}/s", self.target.text())

    @classmethod
    def read(cls, words: Tokens) -> Throttle:
        word = words.take()
        allowed = f"a rate from {format_number(LEAST_PER_SECOND)}/s to {format_number(MOST_PER_SECOND)}/s"
        if not word.text.endswith("/s"):
            raise word.syntax_error(allowed)
        rate = read_number(Token(word.whole, word.start, word.end - 2), LEAST_PER_SECOND, MOST_PER_SECOND, allowed)
        return cls(rate, _target(words))


class Partition(msgspec.Struct, frozen=True):
    """What the target selects is lost, or with `is_hold` kept back until the partition is over."""

    name: ClassVar[str] = "partition"
    is_noop: ClassVar[bool] = False
    target: Target
    is_hold: bool = False

    def text(self) -> str:
        return _text(self.name, "hold" if self.is_hold else "", self.target.text())

    @classmethod
    def read(cls, words: Tokens) -> Partition:
        is_hold = words.peek() == "hold"
        if is_hold:
            words.take()
        if not words.peek().startswith("r"):
            raise words.take().syntax_error(TARGET_HELP if is_hold else f"hold, or {TARGET_HELP}")
        return cls(read_target(words.take()), is_hold)


Shaping = Loss | Duplicate | Delay | LognormalDelay | Reorder
"""Faults that make other deliveries of deliveries (`apply`)."""

MessageFault = Partition | BurstLoss | Shaping | Corrupt | Throttle

MESSAGE_FAULTS: Final[tuple[FaultKind[MessageFault], ...]] = (
    FaultKind(
        Loss.name,
        Loss.read,
        ("loss .2",),
        "an envelope is lost with this probability",
        option="PROBABILITY",
    ),
    FaultKind(
        BurstLoss.name,
        BurstLoss.read,
        ("burst-loss .2 5",),
        "this share of all is lost, in bursts of this mean length (Gilbert–Elliott)",
        option="'SHARE LENGTH'",
    ),
    FaultKind(
        Duplicate.name,
        Duplicate.read,
        ("duplicate .1 x3",),
        "with this probability so many copies arrive (x2 when it is not given)",
        option="PROBABILITY",
    ),
    FaultKind(
        Delay.name,
        Delay.read,
        ("delay 20ms", "delay 5ms..20ms", "delay 20ms~0.5"),
        "every copy is held back: constant, uniform, or lognormal (median, sigma)",
        option="TIME",
    ),
    FaultKind(
        Reorder.name,
        Reorder.read,
        ("reorder .1",),
        "with this probability a copy is held back by a further 10..50 ms, and others overtake it",
        option="PROBABILITY",
    ),
    FaultKind(
        Corrupt.name,
        Corrupt.read,
        ("corrupt .02",),
        "with this probability one bit of the body is flipped; the checksum catches it",
        option="PROBABILITY",
    ),
    FaultKind(
        Throttle.name,
        Throttle.read,
        ("throttle 20/s",),
        "so many envelopes a second pass from one robot to another; what would wait longer than 5 s passes then",
        option="RATE",
    ),
    FaultKind(
        Partition.name,
        Partition.read,
        ("partition r00..r02|r03..r05", "partition hold r00 @1s+3s"),
        "no envelope crosses; with hold they are kept, and arrive in a burst when the partition is over",
        option="GROUPS",
    ),
)
"""The rows of the registry. Shaping faults of a plan act in this order, whatever the order in which they were given;
partitions and burst loss decide before them, corruption and throttles come after (broker/faults/fate.py)."""


# What arguments are made of.


def _text(*words: str) -> str:
    return " ".join(filter(None, words))


def _target(words: Tokens) -> Target:
    """The target, if one is named; what else comes is for those to judge who read on."""
    return read_target(words.take()) if words.peek().startswith("r") else EVERYONE


def _probability(words: Tokens) -> float:
    return read_number(words.take(), 0, 1, "a probability from 0 to 1")


def _sigma(word: Token) -> float:
    allowed = f"a sigma above 0, up to {format_number(LARGEST_SIGMA)}"
    sigma = read_number(word, 0, LARGEST_SIGMA, allowed)
    if sigma == 0:
        raise word.syntax_error(allowed)
    return sigma


def _delay_time(word: Token) -> int:
    microseconds = 0 if word.text == "0" else read_time(word, _DELAY_HELP)
    if microseconds > LONGEST_DELAY_US:
        raise word.syntax_error(f"a delay of at most {format_duration(LONGEST_DELAY_US)}")
    return microseconds
