"""The control entries of an outbox: plan changes and births. They share one order with the envelopes around them.

Only the lab writes them; anything else in their place is read as None.
"""

from __future__ import annotations

from typing import Annotated

import msgspec


class Planned(msgspec.Struct, frozen=True, array_like=True):
    """A fault with the instance number that gives it dice of its own. Numbers are never used twice in a run."""

    instance: Annotated[int, msgspec.Meta(ge=0)]
    text: str


class PlanChange(msgspec.Struct, frozen=True, array_like=True, tag="plan"):
    """From here on, in this outbox, these faults are in force (and no others)."""

    faults: tuple[Planned, ...]
    request_id: str = ""
    """The id of the entry in the stream of requests that caused it; empty for a dated change of the plan."""
    request: str = ""
    """The text of that request."""
    refusal: str = ""
    """Why the request was refused, in one line: the faults are as they were. Empty when it was not."""


class Birth(msgspec.Struct, frozen=True, array_like=True, tag="born"):
    """From here on, in this outbox, earlier lives of this robot are stale."""

    robot: str
    incarnation: int
    nonce: str


Control = PlanChange | Birth
encode_control = msgspec.msgpack.Encoder().encode
_decode_control = msgspec.msgpack.Decoder(PlanChange | Birth).decode


def decode_control(frame: bytes) -> Control:
    """The control entry in `frame`. Raises msgspec.DecodeError on garbage (only the lab itself writes these)."""
    control: Control = _decode_control(frame)
    return control


def read_control(frame: bytes | None) -> Control | None:
    """The control entry in a frame from a stream, which may hold anything; None for garbage."""
    try:
        return decode_control(frame or b"")
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


class AppliedChange(msgspec.Struct, frozen=True):
    """A plan change that the relay of a shard has applied. `at_ms` is when it was put into the outbox, by the server's
    clock; DEALT_MS for what was dealt."""

    at_ms: int
    change: PlanChange
