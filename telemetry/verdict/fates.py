"""Fates once more, from the specification: what each recorded envelope's fate must have been.

A second opinion, so nothing here may be shared with the code that decided. The specification in short:

* Dice: 4 bytes (big-endian, over 2^32) of BLAKE2b-512 keyed with the seed's 8 bytes, over the text
  `<block>|<sender>|<incarnation>|<receiver>|<sequence>|<copy>`, where block = instance div 8, at the offset
  8·(instance mod 8) + 4·draw.
* In force is the plan that stands last before the entry in its own outbox; before the first one nothing harms.
* Stale is an envelope that stands after the birth of a later life of its sender, in the same outbox.
* Faults act in the order loss, duplicate, delay, reorder, then by instance number. Draw 0 decides whether (and how
  long a delay is), draw 1 how far a copy is put back; loss and duplicate look at copy 0 only.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import NamedTuple

from telemetry.verdict.finding import CannotTell
from telemetry.verdict.rows import BornRow, FateRow, PlanRow
from telemetry.verdict.traffic import Key, key_of

Deliveries = tuple[int, ...]
Numbers = Callable[[int, int, int], float]
"""(instance, copy, draw) → a number in [0, 1)."""

_ORDER = ("loss", "duplicate", "delay", "reorder")
_TIME = re.compile(r"([0-9]*\.?[0-9]+)(us|ms|s|m|h)")
_US = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
_SHORTEST_PUT_BACK_US, _LONGEST_PUT_BACK_US = 10_000, 50_000


class Rule(NamedTuple):
    """One planned fault, understood. A probability is `p`; a delay lies between `low_us` and `high_us`."""

    rank: int
    instance: int
    name: str
    text: str
    p: float = 0.0
    low_us: int = 0
    high_us: int = 0


class Ruling(NamedTuple):
    """What the fate must be. `offered`: the faults that met at least one copy; `acted`: those that changed any."""

    fate: str
    deliveries: Deliveries
    offered: tuple[Rule, ...] = ()
    acted: tuple[Rule, ...] = ()


UNHARMED = Ruling("delivered", (0,))
STALE = Ruling("stale", ())


class Rulebook:
    """All that fates depend on: the seed, and per outbox the plans and births in their order."""

    def __init__(self, seed: int, controls: Iterable[PlanRow | BornRow]) -> None:
        self._key = seed.to_bytes(8, "big")
        self._births: dict[tuple[int, str], list[tuple[Key, int]]] = {}
        plans: dict[int, dict[Key, tuple[Rule, ...]]] = {}
        for control in controls:
            key = key_of(control.shard, control.id)
            if isinstance(control, BornRow):
                self._births.setdefault((control.shard, control.robot), []).append((key, control.incarnation))
            else:
                rules = sorted(understand(fault.instance, fault.fault) for fault in control.faults)
                plans.setdefault(control.shard, {})[key] = tuple(rules)
        self._plans = {shard: sorted(of_shard.items()) for shard, of_shard in plans.items()}

    def rules(self) -> list[Rule]:
        """Every fault that was ever planned, by instance."""
        everything = {rule for plans in self._plans.values() for _, rules in plans for rule in rules}
        return sorted(everything, key=lambda rule: (rule.instance, rule.text))

    def final_rules(self) -> list[tuple[Rule, ...]]:
        """Per outbox, the faults in force at the end."""
        return [plans[-1][1] for plans in self._plans.values()]

    def last_change_ms(self) -> int:
        """When a plan last came into force or a life was last announced (server's clock); 0 when never."""
        changes = [plans[-1][0][1] for plans in self._plans.values()]
        births = [key[1] for births in self._births.values() for key, _ in births]
        return max([*changes, *births, 0])

    def rule_on(self, key: Key, row: FateRow) -> Ruling:
        """The fate of one envelope."""
        births = self._births.get((key[0], row.sender or ""), ())
        if any(incarnation > (row.incarnation or 0) and birth < key for birth, incarnation in births):
            return STALE
        plans = self._plans.get(key[0], [])
        place = bisect_left(plans, (key,))
        rules = plans[place - 1][1] if place else ()
        if not rules:
            return UNHARMED
        return self._harm(rules, f"|{row.sender}|{row.incarnation}|{row.receiver}|{row.sequence}|")

    def _harm(self, rules: tuple[Rule, ...], envelope: str) -> Ruling:
        number = _numbers(self._key, envelope)
        deliveries: Deliveries = (0,)
        offered, acted = [], []
        for rule in rules:
            before, deliveries = deliveries, _ACTS[rule.rank](rule, deliveries, number)
            offered.append(rule)
            if deliveries != before:
                acted.append(rule)
            if not deliveries:
                break
        return Ruling("delivered", deliveries, tuple(offered), tuple(acted))


def _numbers(key: bytes, envelope: str) -> Numbers:
    """The numbers of one envelope, each digest computed once."""
    digests: dict[tuple[int, int], bytes] = {}

    def number(instance: int, copy: int, draw: int) -> float:
        block, place = divmod(instance, 8)
        digest = digests.get((block, copy))
        if digest is None:
            digest = digests[block, copy] = hashlib.blake2b(f"{block}{envelope}{copy}".encode(), key=key).digest()
        start = 8 * place + 4 * draw
        return int.from_bytes(digest[start : start + 4], "big") / 2**32

    return number


def understand(instance: int, text: str) -> Rule:
    """The rule that a fault's text means. Raises CannotTell for one that this judge does not know."""
    name, _, argument = text.partition(" ")
    try:
        rank = _ORDER.index(name)
        if name == "delay":
            low, _, high = argument.partition("..")
            return Rule(rank, instance, name, text, low_us=_time_us(low), high_us=_time_us(high or low))
        return Rule(rank, instance, name, text, p=float(argument))
    except (ValueError, OverflowError):
        raise CannotTell(f"the plan holds {text!r}, which this judge does not understand") from None


def _time_us(text: str) -> int:
    if text == "0":
        return 0
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return round(float(match[1]) * _US[match[2]])


def _lose(rule: Rule, deliveries: Deliveries, number: Numbers) -> Deliveries:
    return () if number(rule.instance, 0, 0) < rule.p else deliveries


def _duplicate(rule: Rule, deliveries: Deliveries, number: Numbers) -> Deliveries:
    return (*deliveries, deliveries[0]) if number(rule.instance, 0, 0) < rule.p else deliveries


def _delay(rule: Rule, deliveries: Deliveries, number: Numbers) -> Deliveries:
    width = rule.high_us - rule.low_us
    return tuple(due + rule.low_us + int(number(rule.instance, copy, 0) * width) for copy, due in enumerate(deliveries))


def _put_back(rule: Rule, deliveries: Deliveries, number: Numbers) -> Deliveries:
    width = _LONGEST_PUT_BACK_US - _SHORTEST_PUT_BACK_US
    return tuple(
        due + _SHORTEST_PUT_BACK_US + int(number(rule.instance, copy, 1) * width)
        if number(rule.instance, copy, 0) < rule.p
        else due
        for copy, due in enumerate(deliveries)
    )


_ACTS = (_lose, _duplicate, _delay, _put_back)
