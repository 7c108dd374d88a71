"""How often each planned fault was offered an envelope, and how often it acted, by the recomputed fates."""

from __future__ import annotations

from telemetry.verdict.case import Case
from telemetry.verdict.fates import Rule, Ruling
from telemetry.verdict.finding import State
from telemetry.verdict.rows import FateRow
from telemetry.verdict.traffic import Key


class Tally:
    """One planned fault's numbers, in envelopes."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.offered = 0
        self.injected = 0
        self.dishonest = False

    @property
    def rate(self) -> float | None:
        """The share of the offered that it acted on."""
        return round(self.injected / self.offered, 4) if self.offered else None

    @property
    def state(self) -> State:
        """Whether it did what its dice said, wherever it was asked."""
        if self.dishonest:
            return "BROKEN"
        return "HELD" if self.offered else "UNPROVEN"


def tallies(case: Case) -> list[Tally]:
    """A tally of every fault that was ever planned."""
    tally_of = {rule: Tally(rule) for rule in case.rulebook.rules()}
    for key, ruling in case.rulings.items():
        dishonest = is_dishonest(case.traffic.entries[key], ruling)
        for rule in ruling.offered:
            tally = tally_of[rule]
            tally.offered += 1
            tally.dishonest |= dishonest
        for rule in ruling.acted:
            tally_of[rule].injected += 1
    return list(tally_of.values())


def dishonest_entries(case: Case) -> list[Key]:
    """The envelopes whose recorded fate is not the recomputed one."""
    return [key for key, ruling in case.rulings.items() if is_dishonest(case.traffic.entries[key], ruling)]


def is_dishonest(row: FateRow, ruling: Ruling) -> bool:
    """Whether the recorded fate differs from what it must have been."""
    return row.fate != ruling.fate or row.deliveries != ruling.deliveries
