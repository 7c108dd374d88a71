"""The entries of a robot's journal, its own log across its lives. Pure values and their wire form.

A journal that cannot be read is our own bug or a damaged server, never a fault of the network: decoding raises.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

import msgspec

from robots.secret import Part


class Cause(msgspec.Struct, frozen=True, array_like=True):
    """The copy of an envelope that brought a part."""

    sender: str
    incarnation: int
    sequence: int
    copy: int


class Header(msgspec.Struct, frozen=True, array_like=True, tag="header"):
    """The first entry, written by the dealer (`dealt`) or by a late joiner (`joined`)."""

    origin: str


class PartKept(msgspec.Struct, frozen=True, array_like=True, tag="part"):
    """A part that the robot was dealt (no cause), or has merged from the copy `cause`."""

    part: Part
    cause: Cause | None


class Born(msgspec.Struct, frozen=True, array_like=True, tag="born"):
    """A life begins. Its incarnation is that of the entry's id, its nonce differs from that of every other life."""

    nonce: str


class Completed(msgspec.Struct, frozen=True, array_like=True, tag="complete"):
    """With the parts before it, the secret is complete. `at_us` is the robot's wall clock, for people."""

    at_us: int


class Quieted(msgspec.Struct, frozen=True, array_like=True, tag="quiet"):
    """The quiet period is over: so many ticks were executed without news. `exchange` (hex) brought the answer "equal";
    it is empty when no peer was believed alive. `at_us` is the robot's wall clock."""

    ticks: int
    exchange: str
    at_us: int


Entry = Header | PartKept | Born | Completed | Quieted

encode_entry = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Header | PartKept | Born | Completed | Quieted)


def decode_entry(content: bytes) -> Entry:
    """The entry in `content`. Raises msgspec.DecodeError."""
    entry: Entry = _decoder.decode(content)
    return entry


def readable(contents: Iterable[bytes]) -> Iterator[Entry]:
    """The entries in `contents`, for observers. It skips what is no entry, because anybody may write to a stream; a
    robot never skips anything in its own journal."""
    for content in contents:
        with suppress(ValueError, RecursionError):  # msgspec's errors are ValueErrors
            yield decode_entry(content)


def parts_in(entries: Iterable[Entry]) -> list[Part]:
    """The parts in a journal, in its order."""
    return [entry.part for entry in entries if isinstance(entry, PartKept)]
