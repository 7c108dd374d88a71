"""A run for replay, from its record: its events on one clock, its verdict, and in lines what the record lacks.

What is damaged is left out and counted. Only a record without events or without settings is refused.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from deploy.commands.recorded_events import damage_lines, least_missed, open_events
from deploy.errors import EnvironmentFailure
from deploy.observing.event_tail import in_time
from telemetry.events import Stamped
from telemetry.record.clocks import on_server_clock
from telemetry.record.folder import NoSuchRun
from telemetry.record.history import History
from telemetry.record.reader import LARGEST_EVENTS, RecordReader, Unreadable
from telemetry.record.rows import FateRow, RedoRow
from telemetry.record.settings import RunSettings
from telemetry.tail.line import missed_line
from telemetry.watch.recording import Recording

T = TypeVar("T")


def load_recording(folder: Path) -> tuple[Recording, list[str]]:
    """The run, and a line for each thing that is not there as it should be. Raises NoSuchRun, EnvironmentFailure."""
    gc.disable()  # a run is many small values, and all of them stay
    try:
        return _load(folder)
    except OSError as error:
        raise EnvironmentFailure(f"events.jsonl: {error.strerror or error}") from None
    finally:
        gc.freeze()
        gc.enable()


def _load(folder: Path) -> tuple[Recording, list[str]]:
    notes: list[str] = []
    record = RecordReader(folder)
    try:
        settings = record.settings()
    except Unreadable as error:
        raise NoSuchRun(f"run {folder.name} has no record that can be read: {error}") from None
    recorded = open_events(folder, LARGEST_EVENTS)
    events = recorded.past()
    notes += damage_lines(folder, recorded)
    if recorded.missed:
        notes.append(missed_line(recorded.missed))
    notes += _left_out(folder, events)
    recording = Recording(
        settings=settings,
        dealt=_or_note(record.dealt, (), "who was dealt what is not known", notes),
        events=_on_one_clock(record, settings, events, notes),
        missed=least_missed(folder, recorded),
        result=_or_note(record.result, None, "there is no verdict", notes),
        secret=_secret(record),
        folder=folder,
    )
    return recording, notes


def _left_out(folder: Path, events: list[Stamped]) -> Iterator[str]:
    size = (folder / "events.jsonl").stat().st_size
    if size > LARGEST_EVENTS:
        yield (
            f"events.jsonl has {size >> 20} MiB: only the first {LARGEST_EVENTS >> 20} MiB are replayed,"
            f" {len(events)} events"
        )


def _on_one_clock(
    record: RecordReader, settings: RunSettings, events: list[Stamped], notes: list[str]
) -> list[Stamped]:
    """The events by the server's clock, in order; by their own ones, when the fates of the messages cannot be read."""
    nothing: list[FateRow | RedoRow] = []
    fates = _or_note(record.fates, nothing, "the clocks of hosts cannot be compared", notes)
    history = History(settings, (), [], fates, [], [], [], events)
    corrected = on_server_clock(history)
    return events if corrected is history else in_time(corrected.events)


def _secret(record: RecordReader) -> str:
    with suppress(Unreadable):
        return (record.written_secret() or b"").decode(errors="replace")
    return ""


def _or_note(read: Callable[[], T], otherwise: T, what: str, notes: list[str]) -> T:
    try:
        return read()
    except Unreadable as error:
        notes.append(f"{what}: {error}")
        return otherwise
