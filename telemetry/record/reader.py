"""Reads a record into typed rows, to repeat, list, report or replay a run. The judge has a reader of its own.

A file is read when it is asked for. Damage is an error that names the file; nothing is guessed, and nothing is judged:
whether the evidence is still as it was sealed is not checked here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec

from telemetry.record.settings import RunSettings, decode_settings

Id = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,20}-[0-9]{1,20}$")]
Count = Annotated[int, msgspec.Meta(ge=0)]

T = TypeVar("T")


class Unreadable(Exception):
    """A file of a record is missing or damaged; the message is one line that names it."""


class PlannedFault(msgspec.Struct, frozen=True):
    """A fault in force: the number of its dice, and its text without times."""

    instance: Count
    fault: str


class PlanRow(msgspec.Struct, frozen=True, tag_field="control", tag="plan"):
    """plan.jsonl: from here on these faults are in force in this shard. `request` is what a person asked for, empty
    when the change was in the plan; `refusal` says why it was not done."""

    shard: int
    id: Id
    faults: tuple[PlannedFault, ...]
    request_id: str
    request: str
    refusal: str


class BornRow(msgspec.Struct, frozen=True, tag_field="control", tag="born"):
    """plan.jsonl: from here on earlier lives of this robot are stale in this shard."""

    shard: int
    id: Id
    robot: str
    incarnation: int


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
    status: int


class AcknowledgementRow(msgspec.Struct, frozen=True, tag_field="row", tag="acknowledgement"):
    """fleet.jsonl: a request that concerned process faults alone, and why it was refused, if so."""

    id: Id
    request_id: str
    request: str
    refusal: str


class LeadershipGapRow(msgspec.Struct, frozen=True, tag_field="row", tag="leadership_gap"):
    """fleet.jsonl: until then, no supervisor led the run."""


_FleetRow = InjectionRow | FailureRow | DeathRow | AcknowledgementRow | LeadershipGapRow


class OrderRow(msgspec.Struct, frozen=True):
    """streams.json: an order that the run was given."""

    id: Id
    order: str
    reason: str | None = None


class _Streams(msgspec.Struct, frozen=True):
    orders: tuple[OrderRow, ...]


class _Deal(msgspec.Struct, frozen=True):
    sha256: str


class _Verdict(msgspec.Struct, frozen=True):
    verdict: str


def ms_of(entry: str) -> int:
    """The milliseconds in the id of an entry, by the server's clock."""
    return int(entry.partition("-")[0])


class RecordReader:
    """The record in `folder`. Every method raises Unreadable."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def settings(self) -> RunSettings:
        """What the run was given, and how it ended."""
        try:
            return decode_settings(self._content("settings.json"))
        except ValueError as error:  # msgspec's errors are ValueErrors
            raise Unreadable(f"settings.json: {error}") from None

    def plan(self) -> list[PlanRow]:
        """Every change of the fault plan, in the order of its outbox."""
        return [row for row in self._rows("plan.jsonl", PlanRow | BornRow) if isinstance(row, PlanRow)]

    def injections(self) -> list[InjectionRow]:
        """Every injected process fault, in order."""
        return [row for row in self._rows("fleet.jsonl", _FleetRow) if isinstance(row, InjectionRow)]

    def acknowledgements(self) -> list[AcknowledgementRow]:
        """Every answered request that concerned process faults alone, in order."""
        return [row for row in self._rows("fleet.jsonl", _FleetRow) if isinstance(row, AcknowledgementRow)]

    def order_ms(self, order: str) -> int | None:
        """When `order` was first given, by the server's clock; None when it never was."""
        orders = self._value("streams.json", _Streams).orders
        return min((ms_of(row.id) for row in orders if row.order == order), default=None)

    def secret_sha256(self) -> str:
        """The SHA-256 of the secret that was dealt, in hex."""
        return self._value("deal.json", _Deal).sha256

    def written_secret(self) -> bytes | None:
        """The secret that was written, byte for byte; None when none was."""
        return self._content("secret.txt") if (self.folder / "secret.txt").exists() else None

    def verdict(self) -> str:
        """The verdict in one word."""
        return self._value("verdict.json", _Verdict).verdict

    def _content(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise Unreadable(f"{name}: {error.strerror or error}") from None

    def _value(self, name: str, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(self._content(name), type=kind)
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"{name}: {error}") from None

    def _rows(self, name: str, kind: object) -> Iterator[object]:
        decoder: msgspec.json.Decoder[object] = msgspec.json.Decoder(kind)
        for number, line in enumerate(self._content(name).splitlines(), start=1):
            try:
                yield decoder.decode(line)
            except (ValueError, RecursionError) as error:
                raise Unreadable(f"{name}: line {number}: {error}") from None
