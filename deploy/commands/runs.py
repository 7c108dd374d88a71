"""`robots runs`: the runs that are recorded here, those that go on included. Read from their folders, and nothing else.

A folder may be half written, damaged or another version's: what cannot be read is shown as not known.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, TypeVar

from cyclopts import App, Parameter

from deploy.attach.discovery import LIVE, find_live
from deploy.commands.output import in_columns, print_result
from deploy.commands.outputs import RecordedRun, RecordedRuns, answer_line
from deploy.commands.prune import prune as prune_all
from deploy.config.flags import Given, takes
from deploy.config.settings import PlaceSettings, load_place
from deploy.errors import EnvironmentFailure, UsageError
from telemetry.console import printable
from telemetry.record.folder import NoSuchRun
from telemetry.record.reader import RecordReader, Unreadable

EXAMPLES: Final = """\
Examples:

  robots runs
  robots runs --json
  robots runs --prune --redis-url redis://lab.example:6379
"""

_HEAD: Final = ("run", "mode", "state", "robots", "seed", "verdict", "age")
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))
_UNKNOWN: Final = "-"

T = TypeVar("T")


app = App(name="runs", help_epilogue=EXAMPLES)


@app.default
@takes(PlaceSettings)
def runs(
    *,
    prune: Annotated[bool, Parameter(help="Remove what runs have left behind, here and on the server.")] = False,
    older_than: Annotated[
        str, Parameter(metavar="TIME", help="With --prune: runs in which nothing happened for so long.")
    ] = "24h",
    given: Given,
) -> int:
    """List the recorded runs."""
    place = load_place(given)
    if prune:
        return prune_all(place, older_than)
    if place.runs_dir.exists() and not place.runs_dir.is_dir():
        raise UsageError(f"--runs-dir: {place.runs_dir} is no folder")
    recorded = _recorded(place.runs_dir, time.time())
    if place.json_:
        print_result(answer_line(RecordedRuns(recorded)))
    elif recorded:
        print_result("\n".join(in_columns(_HEAD, [_cells(run) for run in recorded])))
    else:
        print_result(f"no run is recorded in {place.runs_dir}/ yet")
    return 0


def _recorded(folder: Path, now_s: float) -> list[RecordedRun]:
    paths = folder.iterdir() if folder.is_dir() else ()
    found = [_read(path, now_s) for path in paths if _is_record(path)]
    return sorted(found, key=lambda run: (run.age_s, run.run))


def _is_record(path: Path) -> bool:
    if path.is_symlink() or path.name.startswith("."):  # `latest`; a draft
        return False
    try:
        return any((path / name).is_file() for name in ("settings.json", LIVE))
    except OSError:  # of another user
        return False


def _read(path: Path, now_s: float) -> RecordedRun:
    record = RecordReader(path)
    settings, verdict = _or_none(record.settings), _or_none(record.verdict)
    ended = settings.ended if settings else None
    return RecordedRun(
        path.name,
        settings.mode if settings else None,
        _live_state(path) or ended or "unfinished",
        settings.robots if settings else None,
        settings.seed if settings else None,
        verdict,
        round(max(0.0, now_s - _began_s(path)), 1),
    )


def _live_state(path: Path) -> str | None:
    """None when the run does not go on."""
    try:
        find_live(path.parent, path.name, None)
    except NoSuchRun:
        return None
    except EnvironmentFailure:
        return "unreachable"
    return "live"


def _began_s(path: Path) -> float:
    """When the deal was recorded, which is never written again; else when the folder was last changed."""
    for file in (path / "deal.json", path):
        try:
            return file.stat().st_mtime
        except OSError:
            continue
    return 0.0


def _or_none(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except Unreadable:
        return None


def _cells(run: RecordedRun) -> tuple[str, ...]:
    cells = (run.run, run.mode, run.state, run.robots, run.seed, run.verdict)
    return (*(_UNKNOWN if word is None else printable(str(word)) for word in cells), _age(run.age_s))


def _age(seconds: float) -> str:
    """In the largest unit of which there is at least one."""
    for length, unit in _UNITS:
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"
