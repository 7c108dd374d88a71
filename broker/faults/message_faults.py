"""The faults of messages that lose, hold or damage them, and the table of all faults of messages.

Each is a small pure piece of data that knows its effect, its text, how that is read, and what it is in a slower run
(`stretched`: all that it holds of time takes `factor` times as long). Nothing else in the project
knows what a fault does to a message; how faults act together, broker/faults/fate.py says. A new fault is a class here
or in broker/faults/shaping_faults.py, a place in a union, and a row of MESSAGE_FAULTS.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import ClassVar, Final

import msgspec

from broker.faults.dice import Draws
from broker.faults.shaping_faults import ChanceFault, Delay, Duplicate, Loss, Reorder, Shaping
from broker.faults.syntax import (
    NUMBER,
    FaultKind,
    Timeless,
    Token,
    Tokens,
    format_number,
    join_words,
    read_number,
)
from broker.faults.target import EVERYONE, TARGET_HELP, Target, optional_target, read_target

MOST_PER_SECOND: Final = 1_000_000.0
LEAST_PER_SECOND: Final = 0.001
LARGEST_SHARE: Final = 0.999999
LONGEST_BURST: Final = 1_000_000.0  # envelopes
_ROUNDING: Final = 1e-9


class BurstLoss(Timeless, frozen=True):
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
        return join_words(self.name, format_number(self.share), format_number(self.length), self.target.text())

    @classmethod
    def read(cls, words: Tokens) -> BurstLoss:
        share = read_number(words.take(), 0, LARGEST_SHARE, f"a share from 0 to {LARGEST_SHARE}")
        if share == 0 and not NUMBER.match(words.peek()):
            return cls(0.0, 1.0, optional_target(words))
        word = words.take()
        length = read_number(
            word, 1, LONGEST_BURST, f"a mean length from 1 to {format_number(LONGEST_BURST)} envelopes"
        )
        if cls(share, length).onset > 1 + _ROUNDING:
            shortest = format_number(ceil((share / (1 - share) - _ROUNDING) * 1000) / 1000)
            allowed = f"a mean length of {shortest} envelopes or more, for a share of {format_number(share)}"
            raise word.syntax_error(allowed)
        return cls(share, length, optional_target(words))


class Corrupt(ChanceFault, Timeless, frozen=True):
    """With probability `p` all copies arrive with one bit of the body flipped."""

    name: ClassVar[str] = "corrupt"

    def damage(self, draws: Draws, instance: int) -> float | None:
        """Where in the body the flipped bit stands, as a share of it in [0, 1); None when none is flipped."""
        return draws.number(instance, 0, 1) if draws.number(instance, 0, 0) < self.p else None


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

    def stretched(self, factor: Fraction) -> Throttle:
        return Throttle(float(Fraction(self.per_second) / factor), self.target)

    def text(self) -> str:
        return join_words(self.name, f"{format_number(self.per_second)}/s", self.target.text())

    @classmethod
    def read(cls, words: Tokens) -> Throttle:
        word = words.take()
        allowed = f"a rate from {format_number(LEAST_PER_SECOND)}/s to {format_number(MOST_PER_SECOND)}/s"
        if not word.text.endswith("/s"):
            raise word.syntax_error(allowed)
        rate = read_number(Token(word.whole, word.start, word.end - 2), LEAST_PER_SECOND, MOST_PER_SECOND, allowed)
        return cls(rate, optional_target(words))


class Partition(Timeless, frozen=True):
    """What the target selects is lost, or with `is_hold` kept back until the partition is over."""

    name: ClassVar[str] = "partition"
    is_noop: ClassVar[bool] = False
    target: Target
    is_hold: bool = False

    def text(self) -> str:
        return join_words(self.name, "hold" if self.is_hold else "", self.target.text())

    @classmethod
    def read(cls, words: Tokens) -> Partition:
        is_hold = words.peek() == "hold"
        if is_hold:
            words.take()
        if not words.peek().startswith("r"):
            raise words.take().syntax_error(TARGET_HELP if is_hold else f"hold, or {TARGET_HELP}")
        return cls(read_target(words.take()), is_hold)


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
        "with this probability several copies arrive (two, unless x3 or more is given)",
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
        ("reorder .1", "reorder .1 100ms..500ms"),
        "with this probability a copy is held back by a further 10..50 ms, or as given, and others overtake it",
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
        "at most this many envelopes a second pass from one robot to another; none waits longer than 5 s",
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
