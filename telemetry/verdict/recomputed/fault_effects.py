"""What each fault does to one envelope, once more from the specification. Which faults apply to it: see fates.py.

A second opinion, so nothing here may be shared with the code that decided. The specification in short:

* Dice: 4 bytes (big-endian, over 2^32) of BLAKE2b-512 keyed with the seed's 8 bytes, over the text
  `<block>|<sender>|<incarnation>|<receiver>|<sequence>|<copy>`, where block = instance div 8, at the offset
  8·(instance mod 8) + 4·draw.
* Draw 0 of copy 0 decides whether a fault acts: loss, burst-loss, duplicate and corrupt use no other. Delay and
  reorder use every copy's: draw 0 decides how long a delay is, and whether a copy is put back; draw 1 how far: by 10
  to 50 ms, unless the fault says otherwise.
* A burst has a memory of its own, along the sequence numbers of a sender's life and a receiver, gaps included: number 1
  is bad with the share as its probability, and so is every 1024th after it; any other is bad if the one before was, and
  the burst does not end with it, or if it was not, and a burst begins. Bad is lost.
* A throttle depends on what its relay has passed before, which no record shows. All copies of an envelope may be later
  by the same time; it has no other effect.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from math import exp
from statistics import NormalDist
from typing import Final, NamedTuple

from telemetry.verdict.recomputed.fault_rules import LONGEST_DELAY_US, Rule

BURST_MEMORY: Final = 1024  # envelopes, after which its state is drawn anew
_deviation = NormalDist().inv_cdf


class Address(NamedTuple):
    """What identifies an envelope, and therefore its dice."""

    sender: str | None
    incarnation: int | None
    receiver: str | None
    sequence: int


class Draws:
    """All dice of a run, and the bursts that they make."""

    def __init__(self, seed: int) -> None:
        self._key = seed.to_bytes(8, "big")
        self._bursts: dict[tuple[Rule, Address, int], bytearray] = {}

    def digest(self, block: int, address: Address, copy: int) -> bytes:
        """The numbers of eight instances, for one copy."""
        sender, incarnation, receiver, sequence = address
        text = f"{block}|{sender}|{incarnation}|{receiver}|{sequence}|{copy}"
        return hashlib.blake2b(text.encode(), key=self._key).digest()

    def is_bad(self, rule: Rule, address: Address) -> bool:
        """Whether the envelope falls into a burst."""
        block, place = divmod(address.sequence - 1, BURST_MEMORY)
        states = self._bursts.setdefault((rule, address._replace(sequence=0), block), bytearray())
        while len(states) <= place:
            number = block * BURST_MEMORY + len(states) + 1
            digest = self.digest(rule.instance // 8, address._replace(sequence=number), 0)
            chance = _number(digest, rule.instance, 0)
            if not states:
                states.append(chance < rule.p)
            elif states[-1]:
                states.append(chance >= rule.mends)
            else:
                states.append(chance < rule.worsens)
        return bool(states[place])


class Passage:
    """One envelope on its way through the faults. `deliveries`: the delay of each copy, so far, in microseconds."""

    def __init__(self, draws: Draws, address: Address) -> None:
        self.deliveries: tuple[int, ...] = (0,)
        self.is_corrupt = False
        self._draws = draws
        self._address = address
        self._digests: dict[tuple[int, int], bytes] = {}

    def number(self, rule: Rule, copy: int = 0, draw: int = 0) -> float:
        """The number in [0, 1) that `rule` has for a copy, each digest computed once."""
        place = rule.instance // 8, copy
        digest = self._digests.get(place)
        if digest is None:
            digest = self._digests[place] = self._draws.digest(place[0], self._address, copy)
        return _number(digest, rule.instance, draw)

    def applies(self, rule: Rule) -> bool:
        """Whether `rule` acts by the first copy's dice: independently, with probability `p`."""
        return self.number(rule) < rule.p

    def is_in_burst(self, rule: Rule) -> bool:
        """Whether the envelope falls into a burst of `rule`."""
        return self._draws.is_bad(rule, self._address)


def _number(digest: bytes, instance: int, draw: int) -> float:
    start = 8 * (instance % 8) + 4 * draw
    return int.from_bytes(digest[start : start + 4], "big") / 2**32


Effect = Callable[[Rule, Passage], bool]
"""Changes the passage, and returns whether the fault acted. For a fault with a probability the first copy's dice count
alone, so that the rate can be tested: a reorder that puts back only the second copy has not acted."""


def _cut(rule: Rule, passage: Passage) -> bool:
    if not rule.holds:
        passage.deliveries = ()
    return not rule.holds  # a hold acts at the end, if a copy is left: see fates.py


def _lose_in_bursts(rule: Rule, passage: Passage) -> bool:
    if not passage.is_in_burst(rule):
        return False
    passage.deliveries = ()
    return True


def _lose(rule: Rule, passage: Passage) -> bool:
    if not passage.applies(rule):
        return False
    passage.deliveries = ()
    return True


def _duplicate(rule: Rule, passage: Passage) -> bool:
    if not passage.applies(rule):
        return False
    passage.deliveries += passage.deliveries[:1] * (rule.copies - 1)
    return True


def _delay(rule: Rule, passage: Passage) -> bool:
    before = passage.deliveries
    passage.deliveries = tuple(
        due + _time_us(rule, passage.number(rule, copy)) for copy, due in enumerate(passage.deliveries)
    )
    return passage.deliveries != before


def _time_us(rule: Rule, chance: float) -> int:
    if rule.sigma:
        time_us = rule.low_us * exp(rule.sigma * _deviation(chance + 2**-33))
        return min(LONGEST_DELAY_US, round(time_us))
    return rule.low_us + int(chance * (rule.high_us - rule.low_us))


def _put_back(rule: Rule, passage: Passage) -> bool:
    low, high = rule.low_us, rule.high_us
    passage.deliveries = tuple(
        due + low + int(passage.number(rule, copy, 1) * (high - low)) if passage.number(rule, copy) < rule.p else due
        for copy, due in enumerate(passage.deliveries)
    )
    return passage.applies(rule)


def _corrupt(rule: Rule, passage: Passage) -> bool:
    if not passage.applies(rule):
        return False
    passage.is_corrupt = True
    return True


def _throttle(_rule: Rule, _passage: Passage) -> bool:
    return False  # only the record shows the delay: see checks/fate_check.py


EFFECTS: Final[dict[str, Effect]] = {
    "partition": _cut,
    "burst-loss": _lose_in_bursts,
    "loss": _lose,
    "duplicate": _duplicate,
    "delay": _delay,
    "reorder": _put_back,
    "corrupt": _corrupt,
    "throttle": _throttle,
}
