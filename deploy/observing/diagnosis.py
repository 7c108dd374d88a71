"""Why a run does not go on, or was not done: what commands need to notice it, and to show it with a verdict."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from telemetry.console import verdict_lines
from telemetry.diagnosis.causes import diagnose
from telemetry.diagnosis.stalls import StallWatch
from telemetry.explanations.links import Links
from telemetry.explanations.run_index import RunIndex
from telemetry.record.reader import LARGEST_EVENTS, RecordReader, Unreadable
from telemetry.record.rows import DealtPart
from telemetry.verdict.judge import Result


def stall_watch(indices: Any, tick_us: int) -> StallWatch:
    """A watch on the progress of a run. `indices` as in `deal.json`; what cannot be read so is a deal of which nothing
    is known."""
    try:
        dealt = msgspec.convert(indices, tuple[DealtPart, ...])
    except ValueError:
        dealt = ()
    holders = {part.index: part.holders for part in dealt}
    return StallWatch(partial(diagnose, holders=holders, links_under=Links), tick_us)


def result_lines(result: Result, folder: Path) -> Iterator[str]:
    """A result for people, with why the run was not done at its end, by its record in `folder`."""
    return verdict_lines(result.json, _why_not_done(result, folder))


def _why_not_done(result: Result, folder: Path) -> list[str]:
    """The causes for which the run was not done at its end; none when it was, or its record cannot be read, or is that
    of a long run: `robots why` reads it then."""
    if result.winner is not None and result.seconds.all_complete is not None:
        return []
    try:
        if (folder / "events.jsonl").stat().st_size > LARGEST_EVENTS:
            return []
        return [cause.text for cause in RunIndex(RecordReader(folder).history()).diagnosis]
    except (Unreadable, OSError):
        return []
