"""Which run a person means, live or recorded, and all that is known of it. Reads only.

A live run is read from its server, a run that is over from its record.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from broker.errors import Unavailable
from broker.streams.connection import check_server, connect
from deploy.attach.discovery import RunLocation, find_live
from deploy.config.settings import PlaceSettings
from deploy.errors import EnvironmentFailure, NoMetadata
from deploy.observing.live_history import live_history
from telemetry.record.folder import NoSuchRun, find_run
from telemetry.record.history import History
from telemetry.record.reader import RecordReader, Unreadable


class ObservedRun(msgspec.Struct, frozen=True):
    """A run: its history, its verdict as `--json` prints it (None: it was not judged yet), and when its record was
    made, in microseconds since 1970 (None: it is read from its server). `folder` is where it is recorded on this host.
    """

    history: History
    verdict: Mapping[str, Any] | None
    made_us: int | None
    folder: Path | None


def history_of_run(place: PlaceSettings, run: str | None) -> History:
    """All that is known of the run that is meant; of `observe_run`. Raises what that raises."""
    return observe_run(place, run).history


def observe_run(place: PlaceSettings, run: str | None) -> ObservedRun:
    """The run that is meant (`locate_run`). Raises NoSuchRun (there is none, several match, or its record cannot be
    read), UsageError, UnsupportedServer, EnvironmentFailure."""
    where = locate_run(place, run)
    return recorded_run(where) if isinstance(where, Path) else _live(where)


def locate_run(place: PlaceSettings, run: str | None) -> RunLocation | Path:
    """The live run, or the folder of the recorded one, that `run` means: an id, a unique prefix, a folder (with a `/`
    in it) or `latest`; None is the newest live run, or else the latest record. With a server that is named, live runs
    are those on it. Raises NoSuchRun, UsageError, UnsupportedServer, EnvironmentFailure."""
    address = None if run is not None and os.sep in run else place.address
    if run is not None and not (run == "latest" and address is not None):
        with suppress(NoSuchRun):
            folder = find_run(place.runs_dir, run)
            if (folder / "verdict.json").exists():
                return folder
    try:
        return find_live(place.runs_dir, run, address)
    except NoSuchRun as not_live:
        try:
            return find_run(place.runs_dir, run or "latest")
        except NoSuchRun as error:
            raise (error if address is None else not_live) from None


def _live(where: RunLocation) -> ObservedRun:
    with connect(where.address.data) as client:
        check_server(client)
        try:
            return ObservedRun(live_history(client, where.run, where.folder), None, None, where.folder)
        except NoMetadata as error:
            raise NoSuchRun(str(error)) from None
        except Unavailable as error:
            raise EnvironmentFailure(f"the server of run {where.run} went away: {error}") from None


def recorded_run(folder: Path) -> ObservedRun:
    """The run whose record is in `folder`. Raises NoSuchRun when it cannot be read."""
    record = RecordReader(folder)
    try:
        history = record.history()
        made_us = (folder / "streams.json").stat().st_mtime_ns // 1000
    except (Unreadable, OSError) as error:
        raise NoSuchRun(f"run {folder.name} has no record that can be read: {error}") from None
    verdict = None
    with suppress(Unreadable):
        verdict = record.result()
    return ObservedRun(history, verdict, made_us, folder)
