"""Chance as a pure function of the seed and of an envelope's numbers, never of time or place.

There is no generator and no state: every process that knows the seed draws the same numbers for the same copy.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Final

_INSTANCES_PER_DIGEST: Final = 8
_unpack = struct.Struct(">16I").unpack


class Dice:
    """The dice of one run.

    A number is 4 bytes (big-endian, divided by 2^32) of BLAKE2b-512, keyed with the seed's 8 bytes, over the text
    `<block>|<sender>|<incarnation>|<receiver>|<sequence>|<copy>`, where block = instance div 8, at the offset
    8·(instance mod 8) + 4·draw. So every fault instance has numbers of its own, and one digest serves eight instances.
    """

    def __init__(self, seed: int) -> None:
        self._keyed = hashlib.blake2b(key=seed.to_bytes(8, "big"))  # copied: cheaper than keyed anew

    def of(self, sender: str, incarnation: int, receiver: str, sequence: int) -> Draws:
        """The dice of one envelope."""
        return Draws(self._keyed, f"0|{sender}|{incarnation}|{receiver}|{sequence}|0")


class Draws:
    """All numbers of one envelope, each digest computed once."""

    __slots__ = ("_first", "_keyed", "_others", "_text")

    def __init__(self, keyed: hashlib.blake2b, text: str) -> None:
        """`text` is that of block 0 and copy 0."""
        self._keyed = keyed
        self._text = text
        self._first = _numbers(keyed, text)  # nearly always all that is needed
        self._others: dict[tuple[int, int], tuple[int, ...]] = {}

    def number(self, instance: int, copy: int, draw: int) -> float:
        """The number in [0, 1) for one fault instance, copy and draw (0 or 1)."""
        if copy == 0 and instance < _INSTANCES_PER_DIGEST:
            return self._first[2 * instance + draw] / 4294967296
        block, place = divmod(instance, _INSTANCES_PER_DIGEST)
        numbers = self._others.get((block, copy))
        if numbers is None:
            numbers = self._others[block, copy] = _numbers(self._keyed, f"{block}{self._text[1:-1]}{copy}")
        return numbers[2 * place + draw] / 4294967296


def _numbers(keyed: hashlib.blake2b, text: str) -> tuple[int, ...]:
    digest = keyed.copy()
    digest.update(text.encode())
    return _unpack(digest.digest())
