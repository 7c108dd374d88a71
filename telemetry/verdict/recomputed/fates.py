"""The fate that each recorded envelope must have: by the plan in force for it, its sender's lives, and partitions.

A second opinion, so nothing here may be shared with the code that decided. The specification in short:

* In force is the last plan before the entry in its own outbox; before the first one there are no faults.
* Stale is an envelope after the birth of a later life of its sender, in the same outbox.
* Faults act in the order of their kinds, then by instance number, as long as a copy is left, on envelopes that their
  target selects.
* A held envelope has its fate decided as usual. Copies that are left wait for the first later plan of the same outbox
  under which no partition holds the pair, and arrive that much later. Until then there is no fate.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from telemetry.verdict.evidence.births import fences_of
from telemetry.verdict.evidence.schema import BornRow, FateRow, PlanRow
from telemetry.verdict.evidence.traffic import Key, key_of
from telemetry.verdict.recomputed.fault_effects import EFFECTS, Address, Draws, Passage
from telemetry.verdict.recomputed.fault_rules import ORDER, Rule, number_of, understand

Rules = tuple[Rule, ...]

Pair = tuple[int | None, int | None]
"""The numbers of a sender and a receiver; None for a name that is no robot's."""


class Ruling(NamedTuple):
    """What the fate must be: delivered (to `deliveries`), corrupt, lost, stale, or held: none at all, so far.

    `offered`: the faults that had a copy to act on; `acted`: those that acted by the first copy's dice
    (fault_effects.py); `changed`: those that changed something of the envelope, in their order, as its record must
    name them. `throttles`: those of the offered that may have delayed all copies further.
    """

    fate: str
    deliveries: tuple[int, ...]
    offered: Rules = ()
    acted: Rules = ()
    changed: Rules = ()
    throttles: Rules = ()


UNHARMED = Ruling("delivered", (0,))
STALE = Ruling("stale", ())


class Faults:
    """A plan's faults, the same object for all plans with these faults. Results are cached."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules: Rules = tuple(sorted(rules, key=lambda rule: (ORDER.index(rule.name), rule.instance)))
        self._concerning: dict[Pair, Rules] = {}
        self._holding: dict[Pair, Rules] = {}

    def concerning(self, pair: Pair) -> Rules:
        """The faults whose target selects the pair."""
        rules = self._concerning.get(pair)
        if rules is None:
            rules = self._concerning[pair] = tuple(rule for rule in self.rules if rule.target.selects(*pair))
        return rules

    def holding(self, pair: Pair) -> Rules:
        """The partitions that hold envelopes of the pair."""
        rules = self._holding.get(pair)
        if rules is None:
            rules = self._holding[pair] = tuple(rule for rule in self.concerning(pair) if rule.holds)
        return rules


class Plan(NamedTuple):
    """From the entry `key` on, these faults are in force."""

    key: Key
    faults: Faults


class Rulebook:
    """All that fates depend on: the seed, and per outbox the plans and births in their order."""

    def __init__(self, seed: int, controls: Iterable[PlanRow | BornRow]) -> None:
        self._draws = Draws(seed)
        self._rules: dict[tuple[int, str], Rule] = {}
        self._faults: dict[frozenset[Rule], Faults] = {}
        controls = list(controls)
        self._fences = fences_of(controls)
        births = (control for control in controls if isinstance(control, BornRow))
        self._last_birth_ms = max((key_of(born.shard, born.id)[1] for born in births), default=0)
        plans: dict[int, dict[Key, Plan]] = {}
        for control in controls:
            if isinstance(control, PlanRow):
                key = key_of(control.shard, control.id)
                plans.setdefault(control.shard, {})[key] = Plan(key, self._understood(control))
        self._plans = {shard: [of_shard[key] for key in sorted(of_shard)] for shard, of_shard in plans.items()}
        self._keys = {shard: [plan.key for plan in of_shard] for shard, of_shard in self._plans.items()}
        self._releases: dict[tuple[Key, Pair], int | None] = {}

    def rules(self) -> list[Rule]:
        """Every fault that was ever planned, by instance."""
        return sorted(self._rules.values(), key=lambda rule: (rule.instance, rule.text))

    def in_force_at(self, end_ms: int) -> dict[int, Faults]:
        """Per outbox, the faults that came into force last before `end_ms` (server's clock)."""
        plans = {shard: [plan for plan in plans if plan.key[1] < end_ms] for shard, plans in self._plans.items()}
        return {shard: before[-1].faults for shard, before in plans.items() if before}

    def last_change_ms(self, end_ms: int) -> int:
        """The time of the last change of plan before `end_ms`, or of the last birth if that is later (server's clock);
        0 without either."""
        changes = [
            plan.key[1]
            for plans in self._plans.values()
            for before, plan in zip([None, *plans], plans, strict=False)
            if plan.key[1] < end_ms and (before is None or before.faults is not plan.faults)
        ]
        return max([*changes, self._last_birth_ms])

    def held_at_the_end(self, shard: int, sender: str, receiver: str) -> Rules:
        """The partitions that hold envelopes of the pair for ever: they are in the last plan."""
        plans = self._plans.get(shard)
        return plans[-1].faults.holding((number_of(sender), number_of(receiver))) if plans else ()

    def holds_at_the_end(self, shard: int) -> Rules:
        """The partitions that hold any envelopes for ever."""
        plans = self._plans.get(shard)
        return tuple(rule for rule in plans[-1].faults.rules if rule.holds) if plans else ()

    def rule_on(self, key: Key, row: FateRow) -> Ruling:
        """The fate of one envelope."""
        fence = self._fences.get((key[0], row.sender or ""))
        if fence is not None and fence.is_stale(row.incarnation or 0, key):
            return STALE
        place = bisect_left(self._keys.get(key[0], ()), key)
        if not place:
            return UNHARMED
        pair = number_of(row.sender), number_of(row.receiver)
        faults = self._plans[key[0]][place - 1].faults
        rules = faults.concerning(pair)
        if not rules:
            return UNHARMED
        ruling = self._harm(rules, Address(row.sender, row.incarnation, row.receiver, row.sequence or 0))
        holding = faults.holding(pair)
        if not holding or not ruling.deliveries:
            return ruling
        return _held(ruling, holding, self._release_ms(place, key[0], pair), key[1])

    def _harm(self, rules: Rules, address: Address) -> Ruling:
        passage = Passage(self._draws, address)
        acted, changed = [], []
        for offered, rule in enumerate(rules, start=1):
            before = passage.deliveries, passage.is_corrupt
            if EFFECTS[rule.name](rule, passage):
                acted.append(rule)
            if (passage.deliveries, passage.is_corrupt) != before:
                changed.append(rule)
            if not passage.deliveries:
                return Ruling("lost", (), rules[:offered], tuple(acted), tuple(changed))
        return Ruling(
            "corrupt" if passage.is_corrupt else "delivered",
            passage.deliveries,
            rules,
            tuple(acted),
            tuple(changed),
            tuple(rule for rule in rules if rule.name == "throttle"),
        )

    def _release_ms(self, place: int, shard: int, pair: Pair) -> int | None:
        """The time of the first plan from `place` on that does not hold the pair; None without one."""
        plans = self._plans[shard]
        kept = plans[place - 1].key, pair
        if kept not in self._releases:
            later = (plan.key[1] for plan in islice(plans, place, None) if not plan.faults.holding(pair))
            self._releases[kept] = next(later, None)
        return self._releases[kept]

    def _understood(self, control: PlanRow) -> Faults:
        """The faults of a plan, one object for all plans with the same faults."""
        rules = []
        for fault in control.faults:
            name = fault.instance, fault.fault
            if name not in self._rules:
                self._rules[name] = understand(*name)
            rules.append(self._rules[name])
        return self._faults.setdefault(frozenset(rules), Faults(rules))


def _held(ruling: Ruling, holding: Rules, release_ms: int | None, sent_ms: int) -> Ruling:
    """The ruling on an envelope that is held until `release_ms` (None: for ever)."""
    if release_ms is None:
        return Ruling("held", ())
    hold_us = (release_ms - sent_ms) * 1000
    deliveries = tuple(due + hold_us for due in ruling.deliveries)
    return ruling._replace(deliveries=deliveries, acted=(*holding, *ruling.acted), changed=(*holding, *ruling.changed))
