"""How often each planned fault was offered an envelope, and how often it acted, by the recomputed fates.

Offered is every envelope that met the fault while a copy of it was left, and that its target selects. To have acted
means: to have lost it, duplicated it, damaged it, delayed any copy; for a reorder, to have put back its first copy
(every copy has dice of its own, so that envelopes with any copy put back would be no chance of probability p); for a
partition that holds, to have kept it back until its release; for a throttle, that it is recorded later than it would
have been without.
"""

from __future__ import annotations

from typing import Final

from telemetry.verdict.acts import Address
from telemetry.verdict.case import Case
from telemetry.verdict.finding import State
from telemetry.verdict.honesty import is_honest, was_throttled
from telemetry.verdict.odds import band, surprise
from telemetry.verdict.rows import FateRow
from telemetry.verdict.rules import Rule

IMPOSSIBLE: Final = 1e-9
"""Chance is not believed to be less likely than that."""

_INDEPENDENT: Final = ("loss", "duplicate", "reorder", "corrupt")


class Tally:
    """One planned fault's numbers, in envelopes.

    `throws`: how many of the offered had dice of their own, and `hits`: on how many of these it acted. An envelope that
    somebody puts into an outbox again throws the same dice, and tells nothing new.
    """

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.offered = 0
        self.injected = 0
        self.throws = 0
        self.hits = 0
        self.dishonest = False

    @property
    def rate(self) -> float | None:
        """The share of the offered that it acted on."""
        return round(self.injected / self.offered, 4) if self.offered else None

    @property
    def band(self) -> tuple[float, float] | None:
        """Where the true rate lies, with 95 % confidence; None for a fault that leaves nothing to chance.

        The envelopes of a burst share their fate: one tells of its neighbour what the correlation ρ = 1 − p − r of a
        step of the chain tells, so that the variance of their rate is (1 + ρ) / (1 − ρ) times greater.
        """
        if not self.offered or self.rule.name not in (*_INDEPENDENT, "burst-loss"):
            return None
        inflation = 1.0
        if self.rule.name == "burst-loss":
            correlation = 1 - self.rule.worsens - self.rule.mends
            inflation = max(0.0, (1 + correlation) / (1 - correlation))
        low, high = band(self.injected, self.offered, inflation)
        return round(low, 4), round(high, 4)

    @property
    def surprise(self) -> float:
        """How likely chance is to be at least so far from what was set; 1 for faults without independent dice."""
        if self.rule.name not in _INDEPENDENT:
            return 1.0
        return surprise(self.hits, self.throws, self.rule.p)

    @property
    def state(self) -> State:
        """Whether it did what its dice said, wherever it was asked, and as often as was set."""
        if self.dishonest or self.surprise < IMPOSSIBLE:
            return "BROKEN"
        return "HELD" if self.offered else "UNPROVEN"


def tallies(case: Case) -> list[Tally]:
    """A tally of every fault that was ever planned. Raises CannotTell."""
    tally_of = {rule: Tally(rule) for rule in case.rulebook.rules()}
    thrown: set[Address] = set()
    for key, ruling in case.rulings.items():
        row = case.traffic.entries[key]
        honest, throttled = is_honest(row, ruling), was_throttled(row, ruling)
        address = _address(row)
        is_new = address not in thrown
        thrown.add(address)
        for rule in ruling.offered:
            tally = tally_of[rule]
            tally.offered += 1
            tally.throws += is_new
            tally.dishonest |= not honest
        for rule in (*ruling.acted, *(ruling.throttles if throttled else ())):
            tally_of[rule].injected += 1
            tally_of[rule].hits += is_new
    return list(tally_of.values())


def _address(row: FateRow) -> Address:
    return Address(row.sender, row.incarnation, row.receiver, row.sequence or 0)
