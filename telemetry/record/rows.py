"""The rows of a record's files, typed: for reports, traces and questions about a run. The judge has shapes of its own.

Only shapes live here; how a file is read stands in reader.py, and what the fields mean in telemetry/schema.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from telemetry.events import Count, EntryId, Index, Whole

Id = EntryId


class PlannedFault(msgspec.Struct, frozen=True):
    """A fault in force: the number of its dice, and its text without times."""

    instance: Count
    fault: str


class PlanRow(msgspec.Struct, frozen=True, tag_field="control", tag="plan"):
    """plan.jsonl: from here on these faults are in force in this shard. `request` is what a person asked for, empty
    when the change was in the plan; `refusal` says why it was not done."""

    shard: Count
    id: Id
    faults: tuple[PlannedFault, ...]
    request_id: str
    request: str
    refusal: str


class BornRow(msgspec.Struct, frozen=True, tag_field="control", tag="born"):
    """plan.jsonl: from here on earlier lives of this robot are stale in this shard."""

    shard: Count
    id: Id
    robot: str
    incarnation: Count


ControlRow = PlanRow | BornRow


class FateRow(msgspec.Struct, frozen=True, tag_field="row", tag="fate", gc=False):
    """fates.jsonl: what a relay decided for the outbox entry `id`, and recorded in the entry `stored` of its fates.

    `faults` changed something of it. Garbage (`refused`) has no sender, receiver, exchange and kind. `deliveries`: the
    delay of each copy, in microseconds from the id on.
    """

    shard: Count
    id: Id
    stored: Id
    sender: str | None
    incarnation: Count | None
    receiver: str | None
    sequence: Count | None
    exchange: str | None
    kind: str | None
    fate: Literal["delivered", "lost", "corrupt", "stale", "refused"]
    faults: tuple[PlannedFault, ...]
    deliveries: tuple[Count, ...]
    body: Count
    wire: Count


class RedoRow(msgspec.Struct, frozen=True, tag_field="row", tag="redo"):
    """fates.jsonl: a relay began to redo these pending entries."""

    shard: Count
    stored: Id
    redo: tuple[Id, ...]


class HeaderRow(msgspec.Struct, frozen=True, tag_field="entry", tag="header"):
    """journals.jsonl: how the robot came into the run."""

    robot: str
    id: Id
    origin: Literal["dealt", "joined"]


class PartRow(msgspec.Struct, frozen=True, tag_field="entry", tag="part"):
    """journals.jsonl: a part, and the copy (sender, incarnation, sequence, copy) that brought it (None: dealt)."""

    robot: str
    id: Id
    index: Index
    word: str
    last: bool
    cause: tuple[str, Count, Count, Count] | None


class LifeRow(msgspec.Struct, frozen=True, tag_field="entry", tag="born"):
    """journals.jsonl: a life begins."""

    robot: str
    id: Id
    nonce: str


class CompleteRow(msgspec.Struct, frozen=True, tag_field="entry", tag="complete"):
    """journals.jsonl: nothing is missing any more."""

    robot: str
    id: Id
    at_us: Count


class QuietRow(msgspec.Struct, frozen=True, tag_field="entry", tag="quiet"):
    """journals.jsonl: the quiet period is over; a peer answered `equal` in `exchange` (empty: no peer was alive)."""

    robot: str
    id: Id
    ticks: Count
    exchange: str
    at_us: Count


class LostRow(msgspec.Struct, frozen=True, tag_field="entry", tag="lost"):
    """journals.jsonl: this journal was gone."""

    robot: str


JournalRow = HeaderRow | PartRow | LifeRow | CompleteRow | QuietRow | LostRow


class InjectionRow(msgspec.Struct, frozen=True, tag_field="row", tag="injection"):
    """fleet.jsonl: a process fault that was about to be injected, and the victim that was drawn for it."""

    id: Id
    verb: str
    target: str
    victim: str


class FailureRow(msgspec.Struct, frozen=True, tag_field="row", tag="failure"):
    """fleet.jsonl: a process fault that was due, and was not injected."""

    id: Id
    verb: str
    target: str
    why: str


class DeathRow(msgspec.Struct, frozen=True, tag_field="row", tag="death"):
    """fleet.jsonl: a process died. `robot` is the robot that it ran, empty if none."""

    id: Id
    victim: str
    robot: str
    incarnation: Count
    how: Literal["exit", "signal", "silent", "lease"]
    status: Whole


class AcknowledgementRow(msgspec.Struct, frozen=True, tag_field="row", tag="acknowledgement"):
    """fleet.jsonl: a request that concerned process faults alone, and why it was refused, if so."""

    id: Id
    request_id: str
    request: str
    refusal: str


class LeadershipGapRow(msgspec.Struct, frozen=True, tag_field="row", tag="leadership_gap"):
    """fleet.jsonl: until then, for so long, no supervisor led the run."""

    id: Id
    away_us: Count


FleetRow = InjectionRow | FailureRow | DeathRow | AcknowledgementRow | LeadershipGapRow


class OrderRow(msgspec.Struct, frozen=True):
    """streams.json: an order that the run was given."""

    id: Id
    order: str
    reason: str | None = None


class DealtPart(msgspec.Struct, frozen=True):
    """deal.json: the robots that were dealt a part."""

    index: Index
    holders: tuple[str, ...]


def ms_of(entry: str) -> int:
    """The milliseconds in the id of an entry, by the server's clock."""
    return int(entry.partition("-")[0])
