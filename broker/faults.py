"""The ways in which a message can be harmed, each a small pure piece.

A fate is a tuple of delays in microseconds, one per copy: () is lost, (0,) delivered, (0, 0) twice, (300000,) late.
Nothing else in the project knows how to harm a message. Probability 0 changes nothing. How a fault is written stands in
its `text()`; how a text is read, in broker/grammar.py; how faults act together, in broker/plan.py.
"""

from __future__ import annotations

from math import exp
from statistics import NormalDist
from typing import ClassVar, Final

import msgspec

from broker.dice import Throw
from broker.durations import format_duration
from broker.targets import EVERYONE, Target

Deliveries = tuple[int, ...]

REORDER_US: Final = (10_000, 50_000)  # the extra delay of a reordered copy, uniform
LONGEST_DELAY_US: Final = 60_000_000
_HALF_STEP: Final = 2.0**-33  # a die has 2^32 faces; its middle is never 0 or 1
_normal = NormalDist().inv_cdf


class Partition(msgspec.Struct, frozen=True):
    """What the target selects is cut: lost, or with `is_hold` kept back until the cut is over."""

    name: ClassVar[str] = "partition"
    is_noop: ClassVar[bool] = False
    target: Target
    is_hold: bool = False

    def text(self) -> str:
        return _text(self.name, "hold" if self.is_hold else "", self.target.text())


class BurstLoss(msgspec.Struct, frozen=True):
    """In the long run `share` of what one robot sends to another is lost, in bursts of `length` envelopes on average.

    A chain of two states (Gilbert and Elliott) over the numbers 1, 2, 3 … of a pair and a life; bad is lost. With u(i)
    the number of instance, copy 0 and draw 0 for the envelope numbered i, whether that was sent or not:
    state(i) for i ≡ 1 mod 1024: bad iff u(i) < share;
    any other i: after bad, bad iff u(i) ≥ `recovery`; after good, bad iff u(i) < `onset`.
    The new beginning at every 1024th number bounds what it takes to know a state: see broker/bursts.py.
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
        return _text(self.name, plain(self.share), plain(self.length), self.target.text())


class Loss(msgspec.Struct, frozen=True):
    """With probability `p` no copy is delivered."""

    name: ClassVar[str] = "loss"
    p: float
    target: Target = EVERYONE

    def apply(self, deliveries: Deliveries, throw: Throw, instance: int) -> Deliveries:
        return () if throw.number(instance, 0, 0) < self.p else deliveries

    @property
    def is_noop(self) -> bool:
        return self.p == 0

    def text(self) -> str:
        return _text(self.name, plain(self.p), self.target.text())


class Duplicate(msgspec.Struct, frozen=True):
    """With probability `p` the first copy is delivered `copies` times."""

    name: ClassVar[str] = "duplicate"
    p: float
    copies: int = 2
    target: Target = EVERYONE

    def apply(self, deliveries: Deliveries, throw: Throw, instance: int) -> Deliveries:
        if deliveries and throw.number(instance, 0, 0) < self.p:
            return deliveries + deliveries[:1] * (self.copies - 1)
        return deliveries

    @property
    def is_noop(self) -> bool:
        return self.p == 0

    def text(self) -> str:
        copies = "" if self.copies == 2 else f"x{self.copies}"
        return _text(self.name, plain(self.p), copies, self.target.text())


class Delay(msgspec.Struct, frozen=True):
    """Every copy is held back, by a time uniform between `low_us` and `high_us`."""

    name: ClassVar[str] = "delay"
    low_us: int
    high_us: int
    target: Target = EVERYONE

    def apply(self, deliveries: Deliveries, throw: Throw, instance: int) -> Deliveries:
        low, span = self.low_us, self.high_us - self.low_us
        if len(deliveries) == 1:  # nearly always
            return (deliveries[0] + low + int(throw.number(instance, 0, 0) * span),)
        return tuple(
            so_far + low + int(throw.number(instance, copy, 0) * span) for copy, so_far in enumerate(deliveries)
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


class LognormalDelay(msgspec.Struct, frozen=True):
    """Every copy is held back, by a time whose logarithm is normal: mostly about `median_us`, now and then far longer.

    The time is median · exp(sigma · z), rounded, at most a minute; z is the standard normal quantile of u + 2⁻³³.
    """

    name: ClassVar[str] = "delay"
    is_noop: ClassVar[bool] = False
    median_us: int
    sigma: float
    target: Target = EVERYONE

    def apply(self, deliveries: Deliveries, throw: Throw, instance: int) -> Deliveries:
        return tuple(so_far + self._time_us(throw.number(instance, copy, 0)) for copy, so_far in enumerate(deliveries))

    def _time_us(self, u: float) -> int:
        return min(LONGEST_DELAY_US, round(self.median_us * exp(self.sigma * _normal(u + _HALF_STEP))))

    def text(self) -> str:
        return _text(self.name, f"{format_duration(self.median_us)}~{plain(self.sigma)}", self.target.text())


class Reorder(msgspec.Struct, frozen=True):
    """With probability `p` a copy is held back by a further 10..50 ms (uniform), so that later ones overtake it."""

    name: ClassVar[str] = "reorder"
    p: float
    target: Target = EVERYONE

    def apply(self, deliveries: Deliveries, throw: Throw, instance: int) -> Deliveries:
        low, high = REORDER_US
        return tuple(
            so_far + low + int(throw.number(instance, copy, 1) * (high - low))
            if throw.number(instance, copy, 0) < self.p
            else so_far
            for copy, so_far in enumerate(deliveries)
        )

    @property
    def is_noop(self) -> bool:
        return self.p == 0

    def text(self) -> str:
        return _text(self.name, plain(self.p), self.target.text())


class Corrupt(msgspec.Struct, frozen=True):
    """With probability `p` all copies arrive with one bit of the body flipped."""

    name: ClassVar[str] = "corrupt"
    p: float
    target: Target = EVERYONE

    def damage(self, throw: Throw, instance: int) -> float | None:
        """Where in the body the flipped bit stands, as a share of it in [0, 1); None when no harm is done."""
        return throw.number(instance, 0, 1) if throw.number(instance, 0, 0) < self.p else None

    @property
    def is_noop(self) -> bool:
        return self.p == 0

    def text(self) -> str:
        return _text(self.name, plain(self.p), self.target.text())


class Throttle(msgspec.Struct, frozen=True):
    """From one robot to another pass at most `per_second` envelopes a second; the others wait for their turn, but none
    longer than 5 s (broker/throttles.py): what would have to, passes then, and more than `per_second` may.

    The one fault that no fate tells: when a turn comes depends on what came before, so only the relay knows.
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
        return _text(self.name, f"{plain(self.per_second)}/s", self.target.text())


Shaping = Loss | Duplicate | Delay | LognormalDelay | Reorder
"""Faults that make other deliveries of deliveries."""

AnyFault = Partition | BurstLoss | Shaping | Corrupt | Throttle

ORDER: Final = ("partition", "burst-loss", "loss", "duplicate", "delay", "reorder", "corrupt", "throttle")
"""The order in which faults of a plan act, by name, whatever the order in which they were given."""


def plain(number: float) -> str:
    """The shortest text that reads back as exactly `number`."""
    return repr(float(number)).removesuffix(".0")


def _text(*words: str) -> str:
    return " ".join(filter(None, words))
