"""Finds a live run: by its `live.json` on this host, or on a server that is named.

Nothing is written into a record; on a server, runs that are gone are removed from its list of runs.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from redis.exceptions import RedisError

from broker.errors import Unavailable
from broker.streams.address import Address
from broker.streams.connection import DataClient, check_server, connect
from broker.streams.run.probes import holds_run
from broker.streams.run.runs import RunStatus, StreamRuns, read_run_status
from broker.streams.run.supervisor_lease import Leader, read_leader
from deploy.errors import EnvironmentFailure, UsageError
from robots.run.stop_rule import reason_in
from telemetry.record.folder import NoSuchRun, find_run
from telemetry.record.settings import RunSettings

LIVE: Final = "live.json"
HELD_BACK: Final = "held back: waits for go"
"""The state of a run whose `go` waits for a person."""

_LARGEST: Final = 64 * 1024  # bytes of a live.json
_NEWEST: Final = 64  # listed runs that are read: anybody may write to the list
_START: Final = "start one with: robots run --for 60s, or name a server with --redis-url or ROBOTS_REDIS_URL"


class RunLocation(msgspec.Struct, frozen=True):
    """A live run: its id, its server, its record's folder, which is None when it is not on this host, and the process
    that is its parent, None when there is none here."""

    run: str
    address: Address
    folder: Path | None
    parent: int | None = None


class RunOnServer(NamedTuple):
    """A run that a server holds; `dealt_us` by the server's clock, in microseconds since 1970."""

    run: str
    status: RunStatus
    dealt_us: int

    @property
    def is_live(self) -> bool:
        """Whether it goes on, or is to begin."""
        return self.status.stop is None


def state_of(run_status: RunStatus, settings: RunSettings | None = None) -> str:
    """`waiting for go`, `held back: waits for go` (where its settings are given), `live`, or how it ended."""
    if run_status.stop is not None:
        return reason_in(run_status.stop.encode())
    if run_status.go_ms is not None:
        return "live"
    return HELD_BACK if settings is not None and settings.hold and not run_status.may_begin else "waiting for go"


class _Live(msgspec.Struct):
    """What stands in a live.json."""

    control: str
    data: str
    pid: int

    @property
    def address(self) -> Address:
        return Address(self.control, self.data)


def find_live(runs: Path, name: str | None, address: Address | None) -> RunLocation:
    """The live run that `name` means: an id, a unique prefix, a folder (with a `/` in it) or `latest`; None is the
    newest that is live. With `address`, a run on that server, whichever host it runs on: its whole id (it may be over
    then, as long as the server holds it), a unique prefix, or the newest that is live there.

    Raises NoSuchRun (there is none, several match, it is over), UsageError (the address), UnsupportedServer,
    EnvironmentFailure (its live.json cannot be used).
    """
    if address is not None:
        return _on_server(runs, name, address)
    if name is None:
        return _newest(runs)
    folder = find_run(runs, name)
    live = _read(folder / LIVE)
    if live is None:
        raise NoSuchRun(f"run {folder.name} is not live any more; judge it with: robots verify {name}")
    return RunLocation(folder.name, live.address, folder, live.pid)


def _newest(runs: Path) -> RunLocation:
    found: list[tuple[int, RunLocation]] = []
    trouble: EnvironmentFailure | None = None
    for path in runs.glob(f"*/{LIVE}"):
        if path.parent.is_symlink():
            continue
        try:
            live = _read(path)
            began_ns = path.stat().st_mtime_ns
        except EnvironmentFailure as error:
            trouble = error
        except OSError:
            continue  # it ended just now
        else:
            if live is not None:
                found.append((began_ns, RunLocation(path.parent.name, live.address, path.parent.resolve(), live.pid)))
    if found:
        return max(found, key=lambda pair: pair[0])[1]
    if trouble is not None:
        raise trouble
    raise NoSuchRun(f"no run is live in {runs}/; {_START}")


def newest_on(client: DataClient) -> str | None:
    """The run that was dealt last on a server, of those that go on; None when none does. Raises Unavailable."""
    return next((held.run for held in runs_on(client) if held.is_live), None)


def leaders_on(client: DataClient) -> Iterator[tuple[str, Leader | None]]:
    """The newest runs on a server, the newest first, each with the supervisor that leads it now, if one does. Raises
    Unavailable."""
    for run in islice(_dated(client), _NEWEST):
        leader = read_leader(client, run)
        yield run, leader if leader is not None and leader.leads else None


def newest_unrecorded(client: DataClient, runs: Path) -> str | None:
    """The newest live run on a server; else the one that was dealt last, of those that are over and have no verdict in
    `runs`; None when all have one. Raises Unavailable."""
    ended: str | None = None
    for held in runs_on(client):
        if held.is_live:
            return held.run
        if ended is None and not (runs / held.run / "verdict.json").exists():
            ended = held.run
    return ended


def _on_server(runs: Path, name: str | None, address: Address) -> RunLocation:
    if name is not None and os.sep in name:
        raise UsageError("--redis-url: a run on a server is named by its id; allowed is an id such as 7b08e1")
    with connect(address.data) as client:
        check_server(client)
        try:
            run = newest_on(client) if name in (None, "latest") else _named(client, str(name))
        except (RedisError, Unavailable) as error:
            raise EnvironmentFailure(f"the server went away: {error}") from None
    if run is None:
        raise NoSuchRun("no run is live on the server; deal one with: robots deal --redis-url URL")
    folder = runs / run
    if not folder.is_dir():
        return RunLocation(run, address, None)
    live = _read(folder / LIVE)
    return RunLocation(run, address, folder.resolve(), None if live is None else live.pid)


def _named(client: DataClient, name: str) -> str:
    """The run on a server of which `name` is the id or the only prefix. Raises NoSuchRun."""
    if holds_run(client, name):
        return name
    found = [run for run in _dated(client) if run.startswith(name)]
    if len(found) > 1:
        raise NoSuchRun(f"{name!r} means {len(found)} runs on the server: {', '.join(sorted(found))}")
    if not found:
        raise NoSuchRun(f"the server holds no run {name!r}; allowed is the id of one that was dealt there")
    return found[0]


def runs_on(client: DataClient, but: Collection[str] = ()) -> Iterator[RunOnServer]:
    """The newest runs that a server still holds, the newest first, without those in `but`; what does not read as a run
    is passed over, and what is gone is removed from the list. Raises Unavailable."""
    for run, dealt_us in islice(_dated(client).items(), _NEWEST):
        if run in but:
            continue
        run_status = read_run_status(client, run, retry_s=0)
        if run_status is not None:
            yield RunOnServer(run, run_status, dealt_us)
            continue
        with suppress(RedisError, Unavailable):  # the next reader of the list tries again
            if not holds_run(client, run):
                StreamRuns(client).forget(run)


def _dated(client: DataClient) -> dict[str, int]:
    """The runs that a server says it holds, the newest first, each with the time of its deal. Raises Unavailable."""
    try:
        return StreamRuns(client).dealt_us()
    except RedisError as error:
        raise Unavailable(f"runs: {error}") from error


def _read(path: Path) -> _Live | None:
    """What a live.json says; None when there is none, or the process that wrote it is gone. Raises
    EnvironmentFailure."""
    try:
        with path.open("rb") as file:
            live = msgspec.json.decode(file.read(_LARGEST), type=_Live)
        live.address.check()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EnvironmentFailure(f"{path}: {error.strerror or error}; only its user can reach the run") from None
    except ValueError:  # msgspec's errors are such
        raise EnvironmentFailure(
            f"{path} is damaged; the run can be reached with --redis-url URL, if you know its server"
        ) from None
    return live if is_alive(live.pid) else None


def is_stale(path: Path) -> bool:
    """Whether a live.json was left behind by a parent that is dead. False for one that cannot be read."""
    try:
        return path.exists() and _read(path) is None
    except EnvironmentFailure:
        return False


def is_live_here(where: RunLocation) -> bool:
    """Whether a run with a parent on this host goes on: its robots may live, and its server answer."""
    is_there = where.folder is not None and (where.folder / LIVE).exists()
    return is_there and where.parent is not None and is_alive(where.parent)


def is_alive(pid: int) -> bool:
    """Whether there is such a process on this host. Numbers that the system uses for groups of processes are none."""
    if pid <= 0:
        return False
    with suppress(ProcessLookupError, OverflowError):
        try:
            os.kill(pid, 0)
        except PermissionError:
            return True  # another user's, but it is there
        return True
    return False
