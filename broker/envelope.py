"""What travels, and its wire form. Decoding is total: a bad frame is a value (`Garbage`), never an exception.

A frame is a 4-byte CRC-32 (big-endian), then the msgpack array of the envelope's fields. The checksum covers every
field. Nothing here reads the body, which belongs to robots/messages.py.

The names of runs and robots, and the outbox of a robot, are defined here too: the same for every process.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import Annotated, Final

import msgspec

MAX_NAME: Final = 16  # characters of a robot's or a run's name
_RUN: Final = re.compile(f"[A-Za-z0-9_-]{{1,{MAX_NAME}}}")


def robot_name(number: int, robots: int) -> str:
    """The name of a run's `number`-th robot (from 0) when `robots` were dealt: `r00` … `r99`, `r000` … `r999`."""
    width = max(2, len(str(robots - 1)))
    return f"r{number:0{width}d}"


def is_robot(name: str) -> bool:
    """Whether a name from the network could be a robot's: `r` and digits, at most 16 characters."""
    return len(name) <= MAX_NAME and name[:1] == "r" and name[1:].isascii() and name[1:].isdigit()


def is_run(name: str) -> bool:
    """Whether a name from the network could be a run's: ASCII letters, digits, `-` and `_`, at most 16 characters."""
    return _RUN.fullmatch(name) is not None


def shard_of(robot: str, shards: int) -> int:
    """The shard whose outbox `robot` writes to: its number modulo the number of shards."""
    return int(robot[1:]) % shards


MAX_BODY: Final = 72 * 1024  # bytes; an honest body is at most 32 KiB of parts beside a bitmap of as many
MAX_FRAME: Final = MAX_BODY + 512
MAX_COUNT: Final = 1 << 40  # lives, and envelopes of a pair in one life
NO_LIFE: Final = 1 << 32
"""An incarnation that no life ever reaches, and that an envelope may name all the same."""

KINDS: Final = ("summary", "answer", "update")
Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME)]
Count = Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT)]


class Envelope(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """One message on its way. `sequence` counts from 1 per sender, receiver and incarnation."""

    run: Name
    sender: Name
    incarnation: Count
    receiver: Name
    sequence: Count
    exchange: Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]  # the same in all envelopes of a conversation
    kind: str
    body: Annotated[bytes, msgspec.Meta(max_length=MAX_BODY)]


class Garbage(msgspec.Struct, frozen=True):
    """A frame that is no envelope, and why. `claimed`: with a bad checksum, what it could have been; any field may be
    damaged or a forgery."""

    reason: str
    claimed: Envelope | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Envelope).decode
_CHECKSUM: Final = struct.Struct(">I")


def encode(envelope: Envelope) -> bytes:
    """The frame of `envelope`."""
    payload = _encode(envelope)
    return _CHECKSUM.pack(zlib.crc32(payload)) + payload


def decode(frame: bytes) -> Envelope | Garbage:
    """The envelope in `frame`, or why there is none."""
    if not _CHECKSUM.size < len(frame) <= MAX_FRAME:
        return Garbage(f"frame of {len(frame)} bytes, allowed are {_CHECKSUM.size + 1} to {MAX_FRAME}")
    payload = frame[_CHECKSUM.size :]
    is_whole = _CHECKSUM.unpack_from(frame)[0] == zlib.crc32(payload)
    try:
        envelope = _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Garbage(f"not an envelope: {error}" if is_whole else "bad checksum")
    if not is_whole:
        return Garbage("bad checksum", envelope if envelope.kind in KINDS and is_robot(envelope.sender) else None)
    return envelope if envelope.kind in KINDS else Garbage("unknown kind")


def damaged(frame: bytes, body: int, draw: float) -> bytes:
    """`frame` with one bit flipped of its body, which is `body` bytes long (without a body: of its last byte).

    `draw` (0 ≤ draw < 1) says which. The checksum shows it when the frame is decoded.
    """
    span = max(1, body)
    place, bit = divmod(int(draw * span * 8), 8)
    bent = bytearray(frame)
    bent[len(frame) - span + place] ^= 0x80 >> bit
    return bytes(bent)
