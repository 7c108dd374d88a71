"""What a fault's text means, once more from the specification: its rule, and the envelopes that its target selects.

The text is `NAME ARGS [TARGET]`, as control entries carry it: without times, because control entries are in force. A
target is `r03`, `r03>r05`, `r00..r02|r03..r05`, or missing for all; only robots' numbers count. What a fault does to an
envelope stands in fault_effects.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import exp, isfinite
from typing import Any, Final

from telemetry.verdict.finding import EvidenceError

_ROBOT: Final = re.compile(r"r([0-9]{1,15})", re.ASCII)
Side = tuple[range, ...]
Tokens = list[str]
Fields = dict[str, Any]


ORDER: Final = ("partition", "burst-loss", "loss", "duplicate", "delay", "reorder", "corrupt", "throttle")
"""The order in which faults act; within a kind they act by instance number."""

LONGEST_DELAY_US: Final = 60_000_000
PUT_BACK_US: Final = (10_000, 50_000)
"""By how much a reorder that does not say so puts a copy back."""

_TIME = re.compile(r"([0-9]*\.?[0-9]+)(us|ms|s|m|h)")
_US = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}


@lru_cache(maxsize=1 << 16)
def number_of(robot: str | None) -> int | None:
    """The number in a robot's name; None for a name that is no robot's."""
    match = _ROBOT.fullmatch(robot or "")
    return int(match[1]) if match else None


@dataclass(frozen=True)
class Target:
    """The envelopes that a fault selects. One side: all from it or to it. Two with `one_way`: from the first to the
    second. Otherwise: between any two of the sides. No side: all.
    """

    sides: tuple[Side, ...] = ()
    one_way: bool = False

    def selects(self, sender: int | None, receiver: int | None) -> bool:
        """Whether an envelope from `sender` to `receiver` is selected (None: no robot, on no side)."""
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
    """The target that `text` means. Raises ValueError when it is none."""
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


def _merged(side: Side) -> tuple[tuple[int, int], ...]:
    """The robots of a side as ranges (first and last), in order, with a gap between each and the next."""
    merged: list[tuple[int, int]] = []
    for span in sorted(side, key=lambda span: span.start):
        if merged and span.start <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(merged[-1][1], span.stop - 1)
        else:
            merged.append((span.start, span.stop - 1))
    return tuple(merged)


def _holds(side: Side, robot: int | None) -> bool:
    return robot is not None and any(robot in span for span in side)


@dataclass(frozen=True, eq=False)
class Rule:
    """One planned fault. The Rulebook makes one object of each, so they are compared by identity.

    `p`: the probability; of burst-loss the share that is lost in the long run. `holds`: a partition that holds
    envelopes instead of losing them. `length`: the mean of a burst, in envelopes. `copies`: how many copies of a
    duplicated envelope arrive.
    A delay, or how far a reorder puts a copy back, lies between `low_us` and `high_us`; with `sigma` a delay is
    lognormal about the median `low_us`. `per_second`: how many envelopes a throttle lets pass.
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
    per_second: float = 0.0

    @property
    def meaning(self) -> tuple[object, ...]:
        """Equal for two texts that mean the same fault, whatever their instances."""
        target = tuple(map(_merged, self.target.sides)), self.target.one_way
        chance = self.p, self.holds, self.length, self.copies
        return self.name, target, *chance, self.low_us, self.high_us, self.sigma, self.per_second

    @property
    def is_noop(self) -> bool:
        """Whether it does nothing to any envelope."""
        if self.name == "delay":
            return not self.high_us
        return not self.p and self.name not in ("partition", "throttle")

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
        """The share of the selected envelopes that is lost or damaged."""
        return self.p if self.name in ("burst-loss", "loss", "corrupt") else float(self.name == "partition")

    @property
    def longest_us(self) -> int:
        """The longest delay; of a lognormal one, in all but one of a thousand cases. What puts back only some copies
        delays none."""
        if self.name == "reorder":
            return 0
        return min(LONGEST_DELAY_US, round(self.high_us * exp(3 * self.sigma)))


def understand(instance: int, text: str) -> Rule:
    """The rule that a fault's text means. Raises EvidenceError for one that this judge does not know."""
    name, *tokens = text.split() or [""]
    try:
        fields, rest = _READERS[name](tokens)
        target = EVERYONE
        if rest:
            (token,) = rest
            target = read_target(token)
        elif name == "partition":
            raise ValueError("a partition without a target")
        return Rule(instance, name, text, target, **fields)
    except (KeyError, IndexError, ValueError, OverflowError):
        raise EvidenceError(f"the plan holds {text!r}, which this judge does not understand") from None


def _partition(tokens: Tokens) -> tuple[Fields, Tokens]:
    return ({"holds": True}, tokens[1:]) if tokens[0] == "hold" else ({}, tokens)


def _burst_loss(tokens: Tokens) -> tuple[Fields, Tokens]:
    share = _probability(tokens[0])
    if share == 0 and (len(tokens) == 1 or tokens[1].startswith("r")):
        return {}, tokens[1:]  # nothing is lost: a person may leave out how long a burst is
    length = float(tokens[1])
    if not (length >= 1 and isfinite(length)) or share >= 1:
        raise ValueError(tokens)
    return {"p": share, "length": length}, tokens[2:]


def _chance(tokens: Tokens) -> tuple[Fields, Tokens]:
    return {"p": _probability(tokens[0])}, tokens[1:]


def _reorder(tokens: Tokens) -> tuple[Fields, Tokens]:
    fields: Fields = {"p": _probability(tokens[0]), "low_us": PUT_BACK_US[0], "high_us": PUT_BACK_US[1]}
    if tokens[1:] and tokens[1][0].isdigit():
        fields["low_us"], fields["high_us"] = _interval(tokens[1])
        return fields, tokens[2:]
    return fields, tokens[1:]


def _duplicate(tokens: Tokens) -> tuple[Fields, Tokens]:
    fields: Fields = {"p": _probability(tokens[0])}
    if tokens[1:] and tokens[1].startswith("x"):
        fields["copies"] = int(tokens[1][1:])
        if not 2 <= fields["copies"] <= 10:
            raise ValueError(tokens)
    return fields, tokens[1 + ("copies" in fields) :]


def _delay(tokens: Tokens) -> tuple[Fields, Tokens]:
    law = tokens[0]
    if "~" in law:
        median, _, sigma = law.partition("~")
        fields: Fields = {"low_us": time_us(median), "high_us": time_us(median), "sigma": float(sigma)}
        if not 0 < fields["sigma"] <= 3:
            raise ValueError(law)
        return fields, tokens[1:]
    low_us, high_us = _interval(law)
    return {"low_us": low_us, "high_us": high_us}, tokens[1:]


def _interval(text: str) -> tuple[int, int]:
    shortest, _, longest = text.partition("..")
    low_us, high_us = time_us(shortest), time_us(longest or shortest)
    if high_us < low_us:
        raise ValueError(text)
    return low_us, high_us


def _throttle(tokens: Tokens) -> tuple[Fields, Tokens]:
    rate = float(tokens[0].removesuffix("/s"))
    if not tokens[0].endswith("/s") or rate <= 0 or not isfinite(rate):
        raise ValueError(tokens)
    return {"per_second": rate}, tokens[1:]  # fates do not depend on the rate: see fault_effects.py


_READERS: Final[dict[str, Callable[[Tokens], tuple[Fields, Tokens]]]] = {
    "partition": _partition,
    "burst-loss": _burst_loss,
    "loss": _chance,
    "duplicate": _duplicate,
    "delay": _delay,
    "reorder": _reorder,
    "corrupt": _chance,
    "throttle": _throttle,
}


def _probability(text: str) -> float:
    p = float(text)
    if not 0 <= p <= 1:
        raise ValueError(text)
    return p


def time_us(text: str) -> int:
    """The microseconds that a text such as `20ms` means. Raises ValueError."""
    if text == "0":
        return 0
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return round(float(match[1]) * _US[match[2]])
