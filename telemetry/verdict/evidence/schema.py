"""The shapes that a record's files must have (telemetry/record/RECORD.md). Only shapes live here.

Content that does not fit is damage, and is never guessed at. Fields that no check reads are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from telemetry.events import Stamped

Id = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,20}-[0-9]{1,20}$")]
Index = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]


class Shape(msgspec.Struct, frozen=True):
    """Any value or row of a record."""


class RunSeconds(Shape, frozen=True):
    """Seconds since the command's start; None for what did not happen."""

    born: float | None
    total: float | None


class SettingsFile(Shape, frozen=True):
    """settings.json"""

    run: str
    version: str
    mode: Literal["live", "simulated"]
    robots: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    seed: int
    preset: str | None
    tick_us: Positive
    quiet_period_us: Count
    for_us: Count
    plan: tuple[str, ...]
    instances: tuple[Count, ...]
    ended: Literal["complete", "limit", "stopped", "interrupted", "lost"] | None
    again: str
    seconds: RunSeconds
    closed: bool = False


class DealtPartRow(Shape, frozen=True):
    """The robots that were dealt a part, and the digest of its word."""

    index: Index
    holders: tuple[str, ...]
    digest: str


class DealFile(Shape, frozen=True):
    """deal.json"""

    sha256: str
    bytes: Count
    parts: Positive
    salt: str
    indices: tuple[DealtPartRow, ...]


WRITE_ID: Final = "18446744073709551615-18446744073709551615"
"""The id that a write must have: nothing can follow it."""


class AcceptedWrite(Shape, frozen=True):
    """An entry that the register accepted after the dealer's."""

    id: Id
    robot: str
    incarnation: int
    nonce: str
    text: str


class BirthStreamRow(Shape, frozen=True):
    """An entry of a birth stream."""

    id: Id
    entry: Literal["born", "attempt"]
    nonce: str
    at_us: int | None


class RegisterFile(Shape, frozen=True):
    """register.json"""

    exists: bool
    writes: tuple[AcceptedWrite, ...]
    births: dict[str, tuple[BirthStreamRow, ...]]


class OutboxCount(Shape, frozen=True):
    added: Count


class InboxCount(Shape, frozen=True):
    added: Count


class OrderRow(Shape, frozen=True):
    """An order. `reason`: why to stop, which worker is to crash, or who joined."""

    id: Id
    order: Literal["dealt", "begin", "go", "stop", "crash", "joined"]
    reason: str | None = None


class StreamsFile(Shape, frozen=True):
    """streams.json"""

    outboxes: dict[int, OutboxCount]
    inboxes: dict[str, InboxCount]
    contradictions: dict[str, Count]
    orders: tuple[OrderRow, ...]


class PlannedFault(Shape, frozen=True):
    instance: Count
    fault: str


class PlanRow(Shape, frozen=True):
    """plan.jsonl: from here on, in this shard, these faults are in force. `request`: the text of a
    person's request, if any; `refusal`: why it was refused."""

    shard: int
    id: Id
    faults: tuple[PlannedFault, ...]
    request_id: str = ""
    request: str = ""
    refusal: str = ""


class BornRow(Shape, frozen=True):
    """plan.jsonl: from here on, in this shard, earlier lives of this robot are stale."""

    shard: int
    id: Id
    robot: str
    incarnation: int


class FateRow(Shape, frozen=True):
    """fates.jsonl: what a relay decided for one entry, and the faults that changed something of it. Garbage has no
    sender."""

    shard: int
    id: Id
    sender: str | None
    incarnation: int | None
    receiver: str | None
    sequence: int | None
    exchange: str | None
    kind: str | None
    fate: Literal["delivered", "lost", "corrupt", "stale", "refused"]
    faults: tuple[PlannedFault, ...]
    deliveries: tuple[int, ...]
    body: Count
    wire: Count


class RedoRow(Shape, frozen=True):
    """fates.jsonl: a relay began to redo these pending entries."""

    shard: int
    redo: tuple[Id, ...]


class LostRow(Shape, frozen=True):
    """journals.jsonl: this journal was gone."""

    robot: str


class HeaderRow(Shape, frozen=True):
    """journals.jsonl: how the robot came into the run."""

    robot: str
    id: Id
    origin: Literal["dealt", "joined"]


class PartRow(Shape, frozen=True):
    """journals.jsonl: a part, and the copy (sender, incarnation, sequence, copy) that brought it."""

    robot: str
    id: Id
    index: Index
    word: str
    last: bool
    cause: tuple[str, int, int, int] | None


class LifeRow(Shape, frozen=True):
    """journals.jsonl: a life begins."""

    robot: str
    id: Id
    nonce: str


class CompleteRow(Shape, frozen=True):
    """journals.jsonl: nothing is missing any more."""

    robot: str
    id: Id
    at_us: int


class QuietRow(Shape, frozen=True):
    """journals.jsonl: the quiet period is over."""

    robot: str
    id: Id
    ticks: Count
    at_us: int


JournalRow = HeaderRow | PartRow | LifeRow | CompleteRow | QuietRow


class InjectionRow(Shape, frozen=True):
    """fleet.jsonl: a process fault is about to be injected into this victim."""

    id: Id
    verb: str
    target: str
    victim: str


class FailureRow(Shape, frozen=True):
    """fleet.jsonl: a process fault that was due was not injected; its injection, if there is one, stands before."""

    id: Id
    verb: str
    target: str
    why: str


class DeathRow(Shape, frozen=True):
    """fleet.jsonl: a process died. `robot`: the one that it ran (empty: none); `incarnation`: the last claimed."""

    id: Id
    victim: str
    robot: str
    incarnation: Count
    how: Literal["exit", "signal", "silent", "lease"]
    status: int


class AcknowledgementRow(Shape, frozen=True):
    """fleet.jsonl: a request that concerned process faults alone was answered. `refusal`: why it was not done."""

    id: Id
    request_id: str
    request: str
    refusal: str


class LeadershipGapRow(Shape, frozen=True):
    """fleet.jsonl: until then, for so long, no supervisor led the run."""

    id: Id
    away_us: Count


_CONTROLS: dict[str, type[Shape]] = {"plan": PlanRow, "born": BornRow}

_ENTRIES: dict[str, type[Shape]] = {
    "header": HeaderRow,
    "part": PartRow,
    "born": LifeRow,
    "complete": CompleteRow,
    "quiet": QuietRow,
    "lost": LostRow,
}

_FATES: dict[str, type[Shape]] = {"fate": FateRow, "redo": RedoRow}

_FLEET: dict[str, type[Shape]] = {
    "injection": InjectionRow,
    "failure": FailureRow,
    "death": DeathRow,
    "acknowledgement": AcknowledgementRow,
    "leadership_gap": LeadershipGapRow,
}


def shape_of(file: str, row: Mapping[str, Any]) -> type[msgspec.Struct]:
    """The shape that a row of `file` must have. Raises KeyError when it names none."""
    if file == "plan":
        return _CONTROLS[row["control"]]
    if file == "fates":
        return _FATES[row["row"]]
    if file == "journals":
        return _ENTRIES[row["entry"]]
    if file == "fleet":
        return _FLEET[row["row"]]
    return Stamped
