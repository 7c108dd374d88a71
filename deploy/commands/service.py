"""How commands reach a live run: the run that is meant; and for the long-running ones (`robots supervise`, `relay`,
`worker`, `verify --wait`) how they wait for it, or stay for all runs of a server. No command is here.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import Annotated, Final

from cyclopts import Parameter

from broker.errors import Unavailable
from broker.streams.address import Address
from broker.streams.connection import DataClient, Server, ServerAway, UnsupportedServer
from broker.streams.outage import AWAY_LIMIT_S, ServerGone, ServerWatch
from deploy.attach.context import read_settings
from deploy.attach.discovery import RunLocation, RunOnServer, find_live, newest_on, runs_on
from deploy.attach.live_plan import LivePlan, live_plan
from deploy.commands.output import report
from deploy.config.settings import PlaceSettings, ServiceSettings
from deploy.errors import ENVIRONMENT, USAGE, EnvironmentFailure, UsageError
from deploy.fleet.stay import StayingGroup, Tasks
from deploy.processes.liveness import beat, forget_heartbeat, keep_heartbeat
from deploy.processes.signals import ShutdownSignals
from deploy.rq.queue import WorkerCount
from telemetry.phrases import counted
from telemetry.record.folder import NoSuchRun

_POLL_S: Final = 0.5  # between two polls for a run that was dealt


class RunLost(EnvironmentFailure):
    """The run's server does not hold it any more, and it was not stopped; the message is one line."""


Newest = Callable[[DataClient], str | None]
"""Which run on a server is meant when none is named; None: one that is still to come. Raises Unavailable."""

Run = Annotated[str | None, Parameter(allow_leading_hyphen=False, help="Which run. [default: the newest live one]")]


AnyRun = Annotated[
    str | None,
    Parameter(allow_leading_hyphen=False, help="Which run. [default: the newest live one, else the latest record]"),
]
"""For commands that also read records."""


def plan_of(place: PlaceSettings, run: str | None) -> AbstractContextManager[LivePlan]:
    """The plan of the live run that is meant. Raises NoSuchRun, UsageError, UnsupportedServer, EnvironmentFailure."""
    return live_plan(find_live(place.runs_dir, run, place.address))


Served = Callable[[RunLocation, ShutdownSignals], None]
"""Serves one run, until it is over or a signal comes."""


class OrphanRuns:
    """The runs on a server that go on and have no parent: any host may serve them. A parent serves its run itself."""

    def __init__(self) -> None:
        self._left: set[str] = set()  # over, which is final, or with a parent
        self._known: set[str] = set()

    def on(self, client: DataClient) -> Iterator[RunOnServer]:
        """Those that are there now, the newest first. Raises Unavailable."""
        for held in runs_on(client, but=self._left):
            if held.run not in self._known:
                settings = read_settings(client, held.run)
                self._known.add(held.run)
                if settings is not None and settings.parent:
                    self._left.add(held.run)
            if not held.is_live:
                self._left.add(held.run)
            if held.run not in self._left:
                yield held


def stay(
    place: ServiceSettings,
    run: str | None,
    shutdown: ShutdownSignals,
    unserved: Callable[[RunOnServer, Server], Iterable[tuple[str, Served]]],
    waiting: str,
) -> None:
    """Serve all live runs without a parent on the server that is named, at the same time, until a signal: a child for
    each task in `unserved`, given by name. `waiting`: the line for a time without any. Raises UsageError,
    UnsupportedServer."""
    address, orphans = demand_server(place, run), OrphanRuns()

    def find() -> Tasks:
        return {
            name: partial(_in_child, place, name, held.run, do)
            for held in orphans.on(server.data)
            for name, do in unserved(held, server)
        }

    with awaited(address, shutdown, is_staying=True) as server:
        group = StayingGroup(find, server.close, waiting, report, ended=partial(forget_heartbeat, place.heartbeats))
        group.run(shutdown)


def serve_in_turn(place: PlaceSettings, shutdown: ShutdownSignals, do: Callable[[RunLocation], None]) -> None:
    """`do` something for the newest run on the server that is named, and for all that are dealt later, one after the
    other, also after one that is lost or cannot be served. When the server went away, it waits for it and serves the
    same run again. Raises UsageError, UnsupportedServer."""
    served: list[str] = []
    while (where := await_live(place, None, shutdown, but=served, is_staying=True)) is not None:
        served.append(where.run)
        try:
            do(where)
        except (NoSuchRun, EnvironmentFailure, ServerAway, ServerGone) as error:
            report(str(error))
            if not isinstance(error, NoSuchRun | RunLost):
                served.remove(where.run)
                pause(shutdown, _POLL_S)
        if shutdown.reason is not None:
            return


def demand_server(place: PlaceSettings, run: str | None) -> Address:
    """The server that a command with --stay serves. Raises UsageError."""
    if place.address is None or run is not None:
        raise UsageError("--stay: it serves all runs of a server; allowed with --redis-url, and without RUN")
    return place.address


def _in_child(place: ServiceSettings, name: str, run: str, do: Served) -> int:
    """The exit status of a child that serves one run; what went wrong is one line."""
    try:
        keep_heartbeat(place.heartbeats, name)
        with ShutdownSignals() as shutdown:
            do(find_live(place.runs_dir, run, place.address), shutdown)
    except (NoSuchRun, UsageError) as error:
        report(f"run {run}: {error}")
        return USAGE
    except (EnvironmentFailure, UnsupportedServer, ServerGone, OSError) as error:
        report(f"run {run}: {error}")
        return ENVIRONMENT
    return 0


def await_live(
    place: PlaceSettings,
    run: str | None,
    shutdown: ShutdownSignals,
    newest: Newest = newest_on,
    missing: str = "no run is live on the server",
    but: Collection[str] = (),
    *,
    is_staying: bool = False,
) -> RunLocation | None:
    """The live run that is meant. Where that is the newest on a server that is named, it waits for one that is none of
    `but`, and reports once that it is `missing`; None when the command is interrupted before. Raises NoSuchRun,
    UsageError, UnsupportedServer, EnvironmentFailure, and ServerGone unless it `is_staying`."""
    if run is not None or place.address is None:
        return find_live(place.runs_dir, run, place.address)
    with awaited(place.address, shutdown, is_staying=is_staying) as server:
        watch = server_watch(is_staying=is_staying)
        while (name := _next_run(server.data, but, shutdown, newest, watch, missing)) is not None:
            with suppress(NoSuchRun, ServerAway):  # removed since, or gone for a while
                return find_live(place.runs_dir, name, place.address)
    return None


@contextmanager
def reached(address: Address) -> Iterator[Server]:
    """The server at an address, which was checked. Raises UnsupportedServer."""
    with Server.at(address) as server:
        server.check()
        yield server


def workers_line(workers: WorkerCount) -> str:
    """How many RQ workers a server has."""
    return f"{counted(workers.all, 'RQ worker')} on the server, {workers.free} free"


@contextmanager
def awaited(address: Address, shutdown: ShutdownSignals, *, is_staying: bool = False) -> Iterator[Server]:
    """The same, once it answers: a long-running command may be started before its server, on any host. When the command
    is interrupted before, it was not checked. Raises UnsupportedServer, and ServerGone unless it `is_staying`."""
    with Server.at(address) as server:
        is_reported, watch = False, ServerWatch(lambda _line: None, away_limit_s(is_staying=is_staying))
        while shutdown.reason is None:
            try:
                server.check()
                break
            except ServerAway as error:
                if not is_reported:
                    report(f"{error}; waiting for it")
                    is_reported = True
                watch.silent()
                pause(shutdown, _POLL_S)
        yield server


def server_watch(*, is_staying: bool = False) -> ServerWatch:
    """Reports when the server goes away and when it is back, and ends a command that does not stay."""
    return ServerWatch(report, away_limit_s(is_staying=is_staying))


def away_limit_s(*, is_staying: bool = False) -> float | None:
    """How long a server may be away, before the command ends; None: for ever."""
    return None if is_staying else AWAY_LIMIT_S


def pause(shutdown: ShutdownSignals, seconds: float) -> None:
    """Wait so long, or until the command is interrupted; a heartbeat."""
    beat()
    select.select([shutdown.read_end], [], [], seconds)
    shutdown.drain()


def _next_run(
    client: DataClient,
    but: Collection[str],
    shutdown: ShutdownSignals,
    newest: Newest,
    watch: ServerWatch,
    missing: str,
) -> str | None:
    """The newest run, once there is one that is none of `but`; None when the command is interrupted before. Raises
    ServerGone."""
    is_reported = False
    while shutdown.reason is None:
        run = None
        try:
            run = newest(client)
            watch.answered()
        except Unavailable:
            watch.silent()
        if run is not None and run not in but:
            return run
        if not is_reported:
            report(f"{missing}; waiting for one to be dealt")
            is_reported = True
        pause(shutdown, _POLL_S)
    return None
