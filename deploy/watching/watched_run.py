"""Which live run a person wants to watch. A run that is just beginning is waited for. Reads only."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from broker.streams.address import Address
from deploy.attach.discovery import LIVE, RunLocation, find_live
from deploy.config.settings import PlaceSettings
from telemetry.record.folder import NoSuchRun, find_run

BEGIN_S: Final = 10.0
"""A folder that was touched since, without a verdict, belongs to a run that begins, or is being judged."""

_POLL_S: Final = 0.05

Pause = Callable[[float], bool]
"""Waits so long; False when the person wants no more."""


def find_watched(place: PlaceSettings, run: str | None, pause: Pause, report: Callable[[str], None]) -> RunLocation:
    """The live run that `run` means: an id, a unique prefix, a folder (with a `/` in it) or `latest`; None is the
    newest that is live. One that begins is reported, and waited for. Raises NoSuchRun (for a recorded run it says how
    to see it), UsageError, UnsupportedServer, EnvironmentFailure."""
    address = None if run is not None and os.sep in run else place.address
    is_reported = False
    while True:
        folder = None if address is not None else _folder(place.runs_dir, run)
        try:
            return find_live(place.runs_dir, run, address)
        except NoSuchRun:
            if folder is None:
                raise
            if run is not None and (folder / "verdict.json").exists():
                raise NoSuchRun(f"run {folder.name} is over; see it again with: robots replay {run}") from None
            if not _is_beginning(folder) or not pause(_POLL_S):
                raise
        if not is_reported:
            report(f"run {folder.name} is just being dealt or judged; waiting for it")
            is_reported = True


def opened_run(folder: Path, pause: Pause) -> RunLocation:
    """The run of the process that has opened the screens. One that begins is waited for; one that is over by now is
    read from its record."""
    parent = os.getppid()
    while True:
        with suppress(NoSuchRun):
            return find_live(folder.parent, str(folder), None)
        is_judged = (folder / "verdict.json").exists()
        if is_judged or os.getppid() != parent or not pause(_POLL_S):
            return RunLocation(folder.name, Address.one(f"unix://{folder}/none"), folder, parent)


def _folder(runs: Path, run: str | None) -> Path | None:
    """The folder that is meant, whatever stands in it; None when there is none."""
    with suppress(NoSuchRun):
        return find_run(runs, run or "latest")
    return None


def _is_beginning(folder: Path) -> bool:
    """Whether its run was dealt just now, by its first file, and cannot be reached yet."""
    try:
        return not (folder / LIVE).exists() and time.time() - (folder / "settings.json").stat().st_mtime < BEGIN_S
    except OSError:
        return False
