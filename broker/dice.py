"""Chance as a pure function of what an envelope is, never of when or where it is looked at.

There is no generator and no state in here: any process that knows the seed throws the same dice for the same copy.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Final

_INSTANCES_PER_DIGEST: Final = 8
_numbers_in = struct.Struct(">16I").unpack


class Dice:
    """The dice of one run.

    A number is 4 bytes (big-endian, divided by 2^32) of BLAKE2b-512, keyed with the seed's 8 bytes, over the text
    `<block>|<sender>|<incarnation>|<receiver>|<sequence>|<copy>`, where block = instance div 8, at the offset
    8·(instance mod 8) + 4·draw. So every fault instance has numbers of its own, and one digest serves eight instances.
    """

    def __init__(self, seed: int) -> None:
        self._key = seed.to_bytes(8, "big")

    def of(self, sender: str, incarnation: int, receiver: str, sequence: int) -> Throw:
        """The dice of one envelope."""
        return Throw(self._key, f"|{sender}|{incarnation}|{receiver}|{sequence}|")


class Throw:
    """All numbers of one envelope, each digest computed once."""

    __slots__ = ("_envelope", "_first", "_key", "_others")

    def __init__(self, key: bytes, envelope: str) -> None:
        self._key = key
        self._envelope = envelope
        self._first = self._digest(0, 0)  # nearly always all that is asked for
        self._others: dict[tuple[int, int], tuple[int, ...]] = {}

    def number(self, instance: int, copy: int, draw: int) -> float:
        """The number in [0, 1) for one fault instance, copy and draw (0 or 1)."""
        if copy == 0 and instance < _INSTANCES_PER_DIGEST:
            return self._first[2 * instance + draw] / 4294967296
        block, place = divmod(instance, _INSTANCES_PER_DIGEST)
        numbers = self._others.get((block, copy))
        if numbers is None:
            numbers = self._others[block, copy] = self._digest(block, copy)
        return numbers[2 * place + draw] / 4294967296

    def _digest(self, block: int, copy: int) -> tuple[int, ...]:
        text = f"{block}{self._envelope}{copy}".encode()
        return _numbers_in(hashlib.blake2b(text, key=self._key).digest())
