"""What a fault's text means, once more from the specification. Nothing is decided here: see acts.py.

`NAME ARGS [TARGET]`, as control entries carry it: without times, because whatever stands there is in force.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import exp, isfinite
from typing import Any, Final

from telemetry.verdict.finding import CannotTell
from telemetry.verdict.targets import EVERYONE, Target, read_target

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


Words = list[str]
Fields = dict[str, Any]


def _partition(words: Words) -> tuple[Fields, Words]:
    return ({"holds": True}, words[1:]) if words[0] == "hold" else ({}, words)


def _burst_loss(words: Words) -> tuple[Fields, Words]:
    share, length = _probability(words[0]), float(words[1])
    if not (length >= 1 and isfinite(length)) or share >= 1:
        raise ValueError(words)
    return {"p": share, "length": length}, words[2:]


def _chance(words: Words) -> tuple[Fields, Words]:
    return {"p": _probability(words[0])}, words[1:]


def _duplicate(words: Words) -> tuple[Fields, Words]:
    fields: Fields = {"p": _probability(words[0])}
    if words[1:] and words[1].startswith("x"):
        fields["copies"] = int(words[1][1:])
        if not 2 <= fields["copies"] <= 10:
            raise ValueError(words)
    return fields, words[1 + ("copies" in fields) :]


def _delay(words: Words) -> tuple[Fields, Words]:
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


def _throttle(words: Words) -> tuple[Fields, Words]:
    rate = float(words[0].removesuffix("/s"))
    if not words[0].endswith("/s") or rate <= 0 or not isfinite(rate):
        raise ValueError(words)
    return {}, words[1:]  # how many a second is no matter of judgement: see acts.py


_READERS: Final[dict[str, Callable[[Words], tuple[Fields, Words]]]] = {
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
