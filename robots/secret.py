"""The secret as indexed parts, and the deal of parts to robots. Pure: the text comes in and goes out byte for byte.

No robot knows how many parts there are: only the last part is marked last.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from random import Random
from typing import Final

import msgspec

MAX_PARTS: Final = 262_144
MAX_WORD: Final = 16_384  # bytes of a word with the white space after it; a part must fit into one envelope

_WORD = re.compile(r"\A\s*\S+\s*|\S+\s*")


class Part(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One piece of the secret: its index (from 0), its word with the white space after it, and whether it is the
    last."""

    index: int
    word: str
    last: bool


class BadSecret(ValueError):
    """The text cannot be a secret; the message gives the reason."""


def cut(text: str) -> list[Part]:
    """The parts of `text`, from which `join` makes it again. Raises BadSecret."""
    words = _WORD.findall(text)
    if not words:
        raise BadSecret("must hold at least one word")
    if len(words) > MAX_PARTS:
        raise BadSecret(f"has {len(words)} words, at most {MAX_PARTS} are allowed")
    for index, word in enumerate(words):
        if len(word.encode()) > MAX_WORD:
            raise BadSecret(f"word {index + 1} has {len(word.encode())} bytes, at most {MAX_WORD} are allowed")
    return [Part(index, word, index == len(words) - 1) for index, word in enumerate(words)]


def join(parts: Iterable[Part]) -> str:
    """The text that was cut, from its parts in order."""
    return "".join(part.word for part in parts)


def holders(parts: int, robots: int, copies: int, seed: int) -> list[list[int]]:
    """For each part the numbers of the `copies` different robots that hold it at the start, drawn from the seed."""
    chance = Random(f"{seed}/deal")  # noqa: S311  a deal has to be repeatable, not unpredictable
    return [sorted(chance.sample(range(robots), copies)) for _ in range(parts)]
