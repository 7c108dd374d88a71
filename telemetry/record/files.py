"""The record's files that hold one value each, typed. Rows of the others stand in rows.py, the settings in settings.py.

Only shapes live here. The judge has shapes of its own.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from telemetry.events import Count
from telemetry.record.rows import DealtPart, Id, OrderRow

WriteId = Annotated[str, msgspec.Meta(pattern="^[0-9]{1,20}-[0-9]{1,20}$")]
"""No time: the secret is written with the greatest id that a stream may have."""


class DealtPartRow(DealtPart, frozen=True):
    """A part of the secret, as it was dealt."""

    digest: str


class DealFile(msgspec.Struct, frozen=True):
    """deal.json: what was dealt, without a word of it."""

    sha256: str
    bytes: Count
    parts: Count
    salt: str
    indices: tuple[DealtPartRow, ...]


class AcceptedWrite(msgspec.Struct, frozen=True):
    """An entry that the register accepted after the dealer's."""

    id: WriteId
    robot: str
    incarnation: int
    nonce: str
    text: str


class BirthStreamRow(msgspec.Struct, frozen=True):
    """An entry of a robot's birth stream: a life was born, or is about to write the secret."""

    id: Id
    entry: Literal["born", "attempt"]
    nonce: str
    at_us: int | None


class RegisterFile(msgspec.Struct, frozen=True):
    """register.json: what was written, and the birth stream of each robot."""

    exists: bool
    writes: tuple[AcceptedWrite, ...]
    births: dict[str, tuple[BirthStreamRow, ...]]


class OutboxCount(msgspec.Struct, frozen=True):
    """The server's own counts of an outbox."""

    added: Count
    last: str


class InboxCount(msgspec.Struct, frozen=True):
    """The server's own counts of an inbox."""

    added: Count
    left: Count


class StreamsFile(msgspec.Struct, frozen=True):
    """streams.json: what the server counted, and the run's orders."""

    outboxes: dict[str, OutboxCount]
    inboxes: dict[str, InboxCount]
    contradictions: dict[str, Count]
    orders: tuple[OrderRow, ...]


class CountersFile(msgspec.Struct, frozen=True):
    """counters.json: the events of the run, and what handlers did not do with them. Of the whole run."""

    events: dict[str, Count]
    failed_handlers: dict[str, Count]
    missed_by_handlers: Count


class LiveFile(msgspec.Struct, frozen=True):
    """live.json: where a run goes on; only while it does, and readable by its owner alone."""

    control: str
    data: str
    pid: int
