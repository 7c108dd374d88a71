"""Reads a record into typed rows, to repeat, list, report or replay a run. The judge has a reader of its own.

A file is read when it is asked for. Damage is an error that names the file; nothing is guessed, and nothing is judged:
whether the evidence is still as it was sealed is not checked here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from telemetry.events import Stamped
from telemetry.record.clocks import on_server_clock
from telemetry.record.history import History, first_us
from telemetry.record.rows import (
    AcknowledgementRow,
    ControlRow,
    DealtPart,
    FateRow,
    FleetRow,
    InjectionRow,
    JournalRow,
    OrderRow,
    PlanRow,
    RedoRow,
)
from telemetry.record.settings import RunSettings, decode_settings

T = TypeVar("T")
LARGEST_EVENTS: Final = 64 << 20
"""Bytes of events.jsonl. A longer run is read whole only when a person asks for what needs it."""


class Unreadable(Exception):
    """A file of a record is missing or damaged; the message is one line that names it."""


class _Streams(msgspec.Struct, frozen=True):
    orders: tuple[OrderRow, ...]


class _Deal(msgspec.Struct, frozen=True):
    sha256: str
    indices: tuple[DealtPart, ...]


class _Verdict(msgspec.Struct, frozen=True):
    verdict: str


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
        return [row for row in self._rows("plan.jsonl", ControlRow) if isinstance(row, PlanRow)]

    def injections(self) -> list[InjectionRow]:
        """Every injected process fault, in order."""
        return [row for row in self._rows("fleet.jsonl", FleetRow) if isinstance(row, InjectionRow)]

    def acknowledgements(self) -> list[AcknowledgementRow]:
        """Every answered request that concerned process faults alone, in order."""
        return [row for row in self._rows("fleet.jsonl", FleetRow) if isinstance(row, AcknowledgementRow)]

    def order_us(self, order: str) -> int | None:
        """`History.order_us`, without the rest of the history."""
        return first_us(self._value("streams.json", _Streams).orders, order)

    def dealt(self) -> tuple[DealtPart, ...]:
        """Who was dealt each part, in the order of the indices."""
        return self._value("deal.json", _Deal).indices

    def fates(self) -> list[FateRow | RedoRow]:
        """What the relays decided, in order."""
        return list(self._rows("fates.jsonl", FateRow | RedoRow))

    def history(self) -> History:
        """All that the record says of the run, on the server's clock."""
        history = History(
            settings=self.settings(),
            dealt=self.dealt(),
            controls=list(self._rows("plan.jsonl", ControlRow)),
            fates=self.fates(),
            journals=list(self._rows("journals.jsonl", JournalRow)),
            fleet=list(self._rows("fleet.jsonl", FleetRow)),
            orders=list(self._value("streams.json", _Streams).orders),
            events=list(self._rows("events.jsonl", Stamped)),
        )
        return on_server_clock(history)

    def secret_sha256(self) -> str:
        """The SHA-256 of the secret that was dealt, in hex."""
        return self._value("deal.json", _Deal).sha256

    def written_secret(self) -> bytes | None:
        """The secret that was written, byte for byte; None when none was."""
        return self._content("secret.txt") if (self.folder / "secret.txt").exists() else None

    def verdict(self) -> str:
        """The verdict in one word."""
        return self._value("verdict.json", _Verdict).verdict

    def result(self) -> dict[str, Any]:
        """The whole verdict, as `--json` prints it."""
        return self._value("verdict.json", dict[str, Any])

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

    def _rows(self, name: str, kind: Any) -> Iterator[Any]:
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind)
        for number, line in enumerate(self._content(name).splitlines(), start=1):
            try:
                yield decoder.decode(line)
            except (ValueError, RecursionError) as error:
                raise Unreadable(f"{name}: line {number}: {error}") from None
