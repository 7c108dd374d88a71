"""`robots runs`: the runs that are recorded here, those that go on included; or those that a server holds.

The first are read from their folders, and from nothing else unless one is held back. A folder may be half written,
damaged or another version's: what cannot be read is shown as not known.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, TypeVar

from cyclopts import App, Parameter

from broker.errors import Unavailable
from broker.streams.address import Address
from broker.streams.connection import DataClient, UnsupportedServer
from broker.streams.run.probes import now_us
from broker.streams.run.runs import read_run_status
from broker.streams.run.supervisor_lease import read_leader
from deploy.attach.context import read_settings
from deploy.attach.discovery import LIVE, RunLocation, RunOnServer, find_live, runs_on, state_of
from deploy.attach.processes import ProcessSeen, count_relays, supervisor_in
from deploy.commands.output import in_columns, print_result
from deploy.commands.outputs import RecordedRun, RecordedRuns, ServerRun, ServerRuns, answer_line
from deploy.commands.prune import prune as prune_all
from deploy.commands.service import reached, workers_line
from deploy.config.flags import Given, takes
from deploy.config.settings import PlaceSettings, load_place
from deploy.errors import EnvironmentFailure, UsageError
from deploy.rq.queue import count_workers
from telemetry.console import printable
from telemetry.record.folder import NoSuchRun
from telemetry.record.reader import RecordReader, Unreadable
from telemetry.record.settings import RunSettings

EXAMPLES: Final = """\
Examples:

  robots runs
  robots runs --json
  robots runs --redis-url redis://lab.example:6379
  robots runs --prune --redis-url redis://lab.example:6379
"""

_HEAD: Final = ("run", "mode", "state", "robots", "seed", "verdict", "age")
_SERVER_HEAD: Final = ("run", "state", "robots", "lacks", "closed", "age", "supervisor", "relays")
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
    """List the recorded runs, or those on a server."""
    place = load_place(given)
    if prune:
        return prune_all(place, older_than)
    if place.address is not None:
        return _show_server(place.address, place.json_)
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


def _show_server(address: Address, is_json: bool) -> int:
    """Raises UnsupportedServer, EnvironmentFailure."""
    with reached(address) as server:
        try:
            workers = count_workers(server.control)
            found = [_on_server(server.data, held, now_us(server.data, held.run)) for held in runs_on(server.data)]
        except Unavailable as error:
            raise EnvironmentFailure(f"the server went away: {error}") from None
    if is_json:
        print_result(answer_line(ServerRuns(found, workers.all, workers.free)))
        return 0
    listed = in_columns(_SERVER_HEAD, [_server_cells(run) for run in found]) if found else ["the server holds no run"]
    print_result("\n".join([*listed, workers_line(workers)]))
    return 0


def _on_server(client: DataClient, held: RunOnServer, now_us: int) -> ServerRun:
    """Raises Unavailable. Of a run that has ended, nothing is asked for that only a live one has."""
    run, shards, settings = held.run, held.status.shards, read_settings(client, held.run)
    leader = read_leader(client, run) if held.is_live else None
    return ServerRun(
        run,
        state_of(held.status, settings),
        len(held.status.robots),
        leader.needs.lacks if leader is not None and leader.leads else None,
        settings is not None and settings.closed,
        round(max(0, now_us - held.dealt_us) / 1e6, 1),
        supervisor_in(leader),
        count_relays(client, run, shards) if held.is_live else 0,
        shards,
    )


def _server_cells(run: ServerRun) -> tuple[str, ...]:
    lacks = _UNKNOWN if run.lacks is None else str(run.lacks)
    about = (run.run, run.state, str(run.robots), lacks, "yes" if run.closed else "no", _age(run.age_s))
    return (*about, _supervisor(run.supervisor), f"{run.relays} of {run.shards}")


def _supervisor(seen: ProcessSeen) -> str:
    """Who leads."""
    if seen.state == "missing":
        return "none"
    pid = "" if seen.pid is None else f" {seen.pid}"
    return f"{printable(seen.host) or printable(seen.holder)}{pid}" + (
        f" stale, {_age(seen.sign_s or 0)}" if seen.state == "stale" else ""
    )


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
        _live_state(path, settings) or ended or "unfinished",
        settings.robots if settings else None,
        settings.seed if settings else None,
        verdict,
        round(max(0.0, now_s - _began_s(path)), 1),
    )


def _live_state(path: Path, settings: RunSettings | None) -> str | None:
    """None when the run does not go on. Only the server of a run that was held back knows whether it is still."""
    try:
        where = find_live(path.parent, path.name, None)
    except NoSuchRun:
        return None
    except EnvironmentFailure:
        return "unreachable"
    return "live" if settings is None or not settings.hold else _state_on_server(where, settings)


def _state_on_server(where: RunLocation, settings: RunSettings) -> str:
    try:
        with reached(where.address) as server:
            run_status = read_run_status(server.data, where.run, retry_s=0)
    except (Unavailable, UnsupportedServer):
        return "unreachable"
    return "live" if run_status is None else state_of(run_status, settings)


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
