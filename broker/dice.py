"""Chance as a pure function of what an envelope is, never of when or where it is looked at.

There is no generator and no state in here: any process that knows the seed throws the same dice for the same copy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

Roll = Callable[[int, int], float]
"""(copy, draw) → a number in [0, 1) of one fault instance's dice; draw is 0 or 1."""

_INSTANCES_PER_DIGEST = 8


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

    __slots__ = ("_digests", "_envelope", "_key")

    def __init__(self, key: bytes, envelope: str) -> None:
        self._key = key
        self._envelope = envelope
        self._digests: dict[tuple[int, int], bytes] = {}

    def number(self, instance: int, copy: int, draw: int) -> float:
        """The number in [0, 1) for one fault instance, copy and draw."""
        block, place = divmod(instance, _INSTANCES_PER_DIGEST)
        digest = self._digests.get((block, copy))
        if digest is None:
            text = f"{block}{self._envelope}{copy}".encode()
            digest = self._digests[block, copy] = hashlib.blake2b(text, key=self._key).digest()
        offset = 8 * place + 4 * draw
        return int.from_bytes(digest[offset : offset + 4], "big") / 4294967296
