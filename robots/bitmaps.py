"""Sets of part indices as plain ints (bit i = index i), and their wire form: little-endian bytes without padding."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator


def bitmap_of(indices: Iterable[int]) -> int:
    """The set that holds `indices`."""
    bitmap = 0
    for index in indices:
        bitmap |= 1 << index
    return bitmap


def indices_of(bitmap: int) -> Iterator[int]:
    """The indices in `bitmap`, lowest first."""
    for place, byte in enumerate(to_bytes(bitmap)):
        rest = byte
        while rest:
            low = rest & -rest
            yield 8 * place + low.bit_length() - 1
            rest ^= low


def indices_from(bitmap: int, start: int) -> Iterator[int]:
    """The indices in `bitmap`, from `start` upwards and then round from the lowest."""
    for index in indices_of(bitmap >> start):
        yield start + index
    yield from indices_of(bitmap & ((1 << start) - 1))


def to_bytes(bitmap: int) -> bytes:
    """The wire form."""
    return bitmap.to_bytes((bitmap.bit_length() + 7) // 8, "little")


def from_bytes(wire: bytes) -> int:
    """The set whose wire form this is."""
    return int.from_bytes(wire, "little")


def digest_of(bitmap: int) -> str:
    """BLAKE2b-64 of the wire form, in hex: tells in the record what a summary showed, without repeating it."""
    return hashlib.blake2b(to_bytes(bitmap), digest_size=8).hexdigest()
