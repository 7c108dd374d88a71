"""How commands reach a live run: the run that is meant; and for the long-running ones (`robots supervise`, `relay`,
`worker`, `verify --wait`) how they wait for it, or stay for all runs of a server. No command is here.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import Annotated, Final

from cyclopts import Parameter

from broker.errors import Unavailable
from broker.streams.address import Address
from broker.streams.connection import DataClient, Server, UnsupportedServer
from deploy.attach.discovery import RunLocation, RunOnServer, find_live, newest_on, runs_on
from deploy.attach.live_plan import LivePlan, live_plan
from deploy.commands.output import report
from deploy.config.settings import PlaceSettings
from deploy.errors import ENVIRONMENT, USAGE, EnvironmentFailure, UsageError
from deploy.fleet.stay import StayingGroup, Tasks
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


def stay(
    place: PlaceSettings,
    run: str | None,
    shutdown: ShutdownSignals,
    unserved: Callable[[RunOnServer, Server], Iterable[tuple[str, Served]]],
    waiting: str,
) -> None:
    """Serve all live runs on the server that is named, at the same time, until a signal: a child for each task in
    `unserved`, given by name. `waiting`: the line for a time without any. Raises UsageError, UnsupportedServer."""
    if place.address is None or run is not None:
        raise UsageError("--stay: it serves all runs of a server; allowed with --redis-url, and without RUN")
    over: set[str] = set()  # an end is final

    def find() -> Tasks:
        tasks = {}
        for held in runs_on(server.data, but=over):
            if not held.is_live:
                over.add(held.run)
                continue
            for name, do in unserved(held, server):
                tasks[name] = partial(_in_child, place, held.run, do)
        return tasks

    with reached(place.address) as server:
        StayingGroup(find, server.close, waiting, report).run(shutdown)


def _in_child(place: PlaceSettings, run: str, do: Served) -> int:
    """The exit status of a child that serves one run; what went wrong is one line."""
    try:
        with ShutdownSignals() as shutdown:
            do(find_live(place.runs_dir, run, place.address), shutdown)
    except (NoSuchRun, UsageError) as error:
        report(f"run {run}: {error}")
        return USAGE
    except (EnvironmentFailure, UnsupportedServer) as error:
        report(f"run {run}: {error}")
        return ENVIRONMENT
    return 0


def await_live(
    place: PlaceSettings,
    run: str | None,
    shutdown: ShutdownSignals,
    newest: Newest = newest_on,
    missing: str = "no run is live on the server",
) -> RunLocation | None:
    """The live run that is meant. Where that is the newest on a server that is named, it waits for one, and reports
    once that it is `missing`; None when the command is interrupted before. Raises NoSuchRun, UsageError,
    UnsupportedServer, EnvironmentFailure."""
    if run is not None or place.address is None:
        return find_live(place.runs_dir, run, place.address)
    with reached(place.address) as server:
        while (name := _next_run(server.data, shutdown, newest, missing)) is not None:
            with suppress(NoSuchRun):  # removed since
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


def pause(shutdown: ShutdownSignals, seconds: float) -> None:
    """Wait so long, or until the command is interrupted."""
    select.select([shutdown.read_end], [], [], seconds)
    shutdown.drain()


def _next_run(client: DataClient, shutdown: ShutdownSignals, newest: Newest, missing: str) -> str | None:
    """The newest run, once there is one; None when the command is interrupted before. A server that goes away comes
    back."""
    is_reported = False
    while shutdown.reason is None:
        run = None
        with suppress(Unavailable):
            run = newest(client)
        if run is not None:
            return run
        if not is_reported:
            report(f"{missing}; waiting for one to be dealt")
            is_reported = True
        pause(shutdown, _POLL_S)
    return None
