"""What a fault's text means, once more from the specification. Nothing is decided here: see acts.py.

`NAME ARGS [TARGET]`, as control entries carry it: without times, because whatever stands there is in force.

Whom a fault concerns, once more from the specification: `r03`, `r03>r05`, `r00..r02|r03..r05`, or everyone.

Only robots' numbers count. What a fault does to those it concerns means nothing here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import exp, isfinite
from typing import Any, Final

from telemetry.verdict.finding import CannotTell

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


ORDER: Final = ("partition", "burst-loss", "loss", "duplicate", "delay", "reorder", "corrupt", "throttle")
"""The order in which faults act; within a kind they act by instance number."""

LONGEST_DELAY_US: Final = 60_000_000
_TIME = re.compile(r"([0-9]*\.?[0-9]+)(us|ms|s|m|h)")
_US = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}


@dataclass(frozen=True, eq=False)
class Rule:
    """One planned fault, understood. The Rulebook makes one object of each, so they are compared by identity.

    `p`: the probability; of burst-loss the share that is lost in the long run. `holds`: a partition that keeps back
    what it cuts. `length`: the mean of a burst, in envelopes. `copies`: how many arrive of what is duplicated.
    A delay lies between `low_us` and `high_us`, or, with `sigma`, is lognormal about the median `low_us`.
    """

    instance: int
    name: str
    text: str
    target: Target = EVERYONE
    p: float = 0.0
    holds: bool = False
    length: float = 1.0
    copies: int = 2
    low_us: int = 0
    high_us: int = 0
    sigma: float = 0.0

    @property
    def mends(self) -> float:
        """The probability that a burst is over with the next envelope."""
        return 1 / self.length

    @property
    def worsens(self) -> float:
        """The probability that a burst begins with the next envelope."""
        return self.mends * self.p / (1 - self.p)

    @property
    def loss(self) -> float:
        """The share of what it meets that does not arrive, or arrives as garbage."""
        return self.p if self.name in ("burst-loss", "loss", "corrupt") else float(self.name == "partition")

    @property
    def longest_us(self) -> int:
        """What it delays by at most; a lognormal delay in all but one of a thousand cases."""
        return min(LONGEST_DELAY_US, round(self.high_us * exp(3 * self.sigma)))


def understand(instance: int, text: str) -> Rule:
    """The rule that a fault's text means. Raises CannotTell for one that this judge does not know."""
    name, *words = text.split() or [""]
    try:
        fields, rest = _READERS[name](words)
        target = EVERYONE
        if rest:
            (word,) = rest
            target = read_target(word)
        elif name == "partition":
            raise ValueError("a partition of nobody")
        return Rule(instance, name, text, target, **fields)
    except (KeyError, IndexError, ValueError, OverflowError):
        raise CannotTell(f"the plan holds {text!r}, which this judge does not understand") from None


Tokens = list[str]
Fields = dict[str, Any]


def _partition(words: Tokens) -> tuple[Fields, Tokens]:
    return ({"holds": True}, words[1:]) if words[0] == "hold" else ({}, words)


def _burst_loss(words: Tokens) -> tuple[Fields, Tokens]:
    share, length = _probability(words[0]), float(words[1])
    if not (length >= 1 and isfinite(length)) or share >= 1:
        raise ValueError(words)
    return {"p": share, "length": length}, words[2:]


def _chance(words: Tokens) -> tuple[Fields, Tokens]:
    return {"p": _probability(words[0])}, words[1:]


def _duplicate(words: Tokens) -> tuple[Fields, Tokens]:
    fields: Fields = {"p": _probability(words[0])}
    if words[1:] and words[1].startswith("x"):
        fields["copies"] = int(words[1][1:])
        if not 2 <= fields["copies"] <= 10:
            raise ValueError(words)
    return fields, words[1 + ("copies" in fields) :]


def _delay(words: Tokens) -> tuple[Fields, Tokens]:
    law = words[0]
    if "~" in law:
        median, _, sigma = law.partition("~")
        fields: Fields = {"low_us": _time_us(median), "high_us": _time_us(median), "sigma": float(sigma)}
        if not 0 < fields["sigma"] <= 3:
            raise ValueError(law)
        return fields, words[1:]
    shortest, _, longest = law.partition("..")
    low_us, high_us = _time_us(shortest), _time_us(longest or shortest)
    if high_us < low_us:
        raise ValueError(law)
    return {"low_us": low_us, "high_us": high_us}, words[1:]


def _throttle(words: Tokens) -> tuple[Fields, Tokens]:
    rate = float(words[0].removesuffix("/s"))
    if not words[0].endswith("/s") or rate <= 0 or not isfinite(rate):
        raise ValueError(words)
    return {}, words[1:]  # how many a second is no matter of judgement: see acts.py


_READERS: Final[dict[str, Callable[[Tokens], tuple[Fields, Tokens]]]] = {
    "partition": _partition,
    "burst-loss": _burst_loss,
    "loss": _chance,
    "duplicate": _duplicate,
    "delay": _delay,
    "reorder": _chance,
    "corrupt": _chance,
    "throttle": _throttle,
}


def _probability(text: str) -> float:
    p = float(text)
    if not 0 <= p <= 1:
        raise ValueError(text)
    return p


def _time_us(text: str) -> int:
    if text == "0":
        return 0
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return round(float(match[1]) * _US[match[2]])
