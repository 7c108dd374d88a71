"""What travels, and its wire form. Decoding is total: a bad frame is a value (`Garbage`), never an exception.

A frame is a 4-byte CRC-32 (big-endian), then the msgpack array of the envelope's fields. The checksum covers every
field. Nothing in here looks into the body: what robots say to each other is robots/messages.py's affair.
"""

from __future__ import annotations

import zlib
from typing import Final

import msgspec

from broker.shards import MAX_NAME

MAX_BODY: Final = 72 * 1024  # bytes; an honest body is at most 32 KiB of parts beside a bitmap of as many
MAX_FRAME: Final = MAX_BODY + 512

KINDS: Final = ("summary", "answer", "update")


class Envelope(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One message on its way. `sequence` counts from 1 per sender, receiver and incarnation."""

    run: str
    sender: str
    incarnation: int
    receiver: str
    sequence: int
    exchange: bytes  # 8 bytes, the same in all envelopes of one conversation
    kind: str
    body: bytes


class Garbage(msgspec.Struct, frozen=True):
    """A frame that is none of ours, and why."""

    reason: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Envelope).decode


def encode(envelope: Envelope) -> bytes:
    """The frame of `envelope`."""
    payload = _encode(envelope)
    return zlib.crc32(payload).to_bytes(4, "big") + payload


def decode(frame: bytes) -> Envelope | Garbage:
    """The envelope in `frame`, or why there is none."""
    if len(frame) > MAX_FRAME:
        return Garbage(f"frame of {len(frame)} bytes, at most {MAX_FRAME}")
    if int.from_bytes(frame[:4], "big") != zlib.crc32(frame[4:]) or len(frame) < 5:
        return Garbage("bad checksum")
    try:
        envelope = _decode(frame[4:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Garbage("not an envelope")
    return _within_limits(envelope)


def _within_limits(envelope: Envelope) -> Envelope | Garbage:
    if envelope.kind not in KINDS:
        return Garbage("unknown kind")
    if len(envelope.exchange) != 8 or envelope.sequence < 1 or envelope.incarnation < 1:
        return Garbage("numbers out of range")
    if len(envelope.body) > MAX_BODY:
        return Garbage("body too long")
    if max(len(envelope.run), len(envelope.sender), len(envelope.receiver)) > MAX_NAME:
        return Garbage("name too long")
    return envelope
