"""The ways in which a message can be harmed, each a small pure function from deliveries to deliveries.

A fate is a tuple of delays in microseconds, one per copy: () is lost, (0,) delivered, (0, 0) twice, (300000,) late.
Nothing else in the project knows how to harm a message. Probability 0 changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final, Protocol

import msgspec

from broker.dice import Throw
from broker.durations import format_duration, parse_duration

Deliveries = tuple[int, ...]

REORDER_US: Final = (10_000, 50_000)  # the extra delay of a reordered copy, uniform
LONGEST_DELAY_US: Final = 60_000_000


def _plain(p: float) -> str:
    """The shortest text that reads back as exactly `p`."""
    return repr(float(p)).removesuffix(".0")


class Fault(Protocol):
    """One kind of harm. `text()` is what `parse_fault` reads back."""

    name: ClassVar[str]

    def apply(self, deliveries: Deliveries, throw: Throw, instance: int) -> Deliveries:
        """What this fault makes of the deliveries so far."""
        ...

    def text(self) -> str: ...


class Loss(msgspec.Struct, frozen=True):
    """With probability `p` no copy is delivered."""

    name: ClassVar[str] = "loss"
    p: float

    def apply(self, deliveries: Deliveries, throw: Throw, instance: int) -> Deliveries:
        return () if throw.number(instance, 0, 0) < self.p else deliveries

    def text(self) -> str:
        return f"loss {_plain(self.p)}"


class Duplicate(msgspec.Struct, frozen=True):
    """With probability `p` one copy more is delivered."""

    name: ClassVar[str] = "duplicate"
    p: float

    def apply(self, deliveries: Deliveries, throw: Throw, instance: int) -> Deliveries:
        if deliveries and throw.number(instance, 0, 0) < self.p:
            return (*deliveries, deliveries[0])
        return deliveries

    def text(self) -> str:
        return f"duplicate {_plain(self.p)}"


class Delay(msgspec.Struct, frozen=True):
    """Every copy is held back, by a time uniform between `low_us` and `high_us`."""

    name: ClassVar[str] = "delay"
    low_us: int
    high_us: int

    def apply(self, deliveries: Deliveries, throw: Throw, instance: int) -> Deliveries:
        span = self.high_us - self.low_us
        return tuple(
            so_far + self.low_us + int(throw.number(instance, copy, 0) * span) for copy, so_far in enumerate(deliveries)
        )

    def text(self) -> str:
        if self.low_us == self.high_us:
            return f"delay {format_duration(self.low_us)}"
        return f"delay {format_duration(self.low_us)}..{format_duration(self.high_us)}"


class Reorder(msgspec.Struct, frozen=True):
    """With probability `p` a copy is held back by a further 10..50 ms (uniform), so that later ones overtake it."""

    name: ClassVar[str] = "reorder"
    p: float

    def apply(self, deliveries: Deliveries, throw: Throw, instance: int) -> Deliveries:
        low, high = REORDER_US
        return tuple(
            so_far + low + int(throw.number(instance, copy, 1) * (high - low))
            if throw.number(instance, copy, 0) < self.p
            else so_far
            for copy, so_far in enumerate(deliveries)
        )

    def text(self) -> str:
        return f"reorder {_plain(self.p)}"


AnyFault = Loss | Duplicate | Delay | Reorder
ORDER: Final = (Loss, Duplicate, Delay, Reorder)
"""The order in which faults of a plan act, whatever the order in which they were named."""


def parse_probability(text: str) -> float:
    """A number from 0 to 1. Raises ValueError that says what is allowed."""
    try:
        p = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number; allowed is a probability from 0 to 1") from None
    if not 0 <= p <= 1:
        raise ValueError(f"{text} is outside of what is allowed: a probability from 0 to 1")
    return p


def parse_delay(text: str) -> tuple[int, int]:
    """Low and high microseconds of `20ms` or `5ms..20ms`; `0` means none. Raises ValueError."""
    if text.strip() == "0":
        return 0, 0
    low_text, dots, high_text = text.partition("..")
    low = parse_duration(low_text)
    high = parse_duration(high_text) if dots else low
    if high < low:
        raise ValueError(f"{text!r} runs backwards; write the shorter time first: 5ms..20ms")
    if high > LONGEST_DELAY_US:
        raise ValueError(f"{text!r} is too long; a delay is at most {format_duration(LONGEST_DELAY_US)}")
    return low, high


_PARSERS: Final[dict[str, Callable[[str], AnyFault]]] = {
    "loss": lambda text: Loss(parse_probability(text)),
    "duplicate": lambda text: Duplicate(parse_probability(text)),
    "delay": lambda text: Delay(*parse_delay(text)),
    "reorder": lambda text: Reorder(parse_probability(text)),
}


def parse_fault(text: str) -> AnyFault:
    """The fault that a text such as `delay 5ms..20ms` means. Raises ValueError that says what is allowed."""
    name, _, arguments = text.strip().partition(" ")
    parser = _PARSERS.get(name)
    if parser is None:
        raise ValueError(f"{name!r} is no fault; allowed are {', '.join(_PARSERS)}")
    return parser(arguments.strip())
