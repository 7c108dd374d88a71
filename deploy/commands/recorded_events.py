"""The events of a record, for the commands that read nothing else of it: a record without any is refused, and what is
damaged is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from deploy.observing.event_tail import RecordedEvents
from telemetry.phrases import counted
from telemetry.record.folder import NoSuchRun
from telemetry.record.growing import is_cut

_FILE: Final = "events.jsonl"


def open_events(folder: Path, most_bytes: int | None = None) -> RecordedEvents:
    """The events of the record in `folder`, at most the first `most_bytes`. Raises NoSuchRun when it has no file of
    events."""
    if not (folder / _FILE).exists():
        raise NoSuchRun(f"run {folder.name} has no record that can be read: there is no {_FILE}")
    return RecordedEvents(folder, most_bytes)


def damage_lines(folder: Path, recorded: RecordedEvents) -> Iterator[str]:
    """What was left out of those that were read, and why, for a person. Raises OSError."""
    if recorded.damaged:
        yield f"{_FILE}: {counted(recorded.damaged, 'damaged line was', 'damaged lines were')} left out"
    if is_cut(folder / _FILE):
        yield f"{_FILE}: its last line is cut, and was left out"


def least_missed(folder: Path, recorded: RecordedEvents) -> int:
    """How many events are missing at least: a gap in the numbers and a damaged line may be the same event. Raises
    OSError."""
    return max(recorded.missed, recorded.damaged + is_cut(folder / _FILE))
