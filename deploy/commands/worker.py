"""`robots worker`: RQ workers for robots, on any host that reaches the server."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Final

from cyclopts import App, Parameter

from broker.errors import Unavailable
from broker.streams.address import Address
from broker.streams.connection import Server
from deploy.attach.discovery import find_live, newest_on
from deploy.attach.letting_go import is_held_back
from deploy.commands.output import report
from deploy.commands.service import awaited, server_watch
from deploy.config.flags import Given, takes
from deploy.config.host import demand_linux
from deploy.config.settings import MOST_WORKERS, PlaceSettings, ServiceSettings, load_service_settings
from deploy.errors import INTERRUPTED, EnvironmentFailure, UsageError
from deploy.fleet.worker_group import WorkerGroup
from deploy.processes.liveness import keep_heartbeat
from deploy.processes.signals import ShutdownSignals
from telemetry.record.folder import NoSuchRun

EXAMPLES: Final = """\
Examples:

  robots worker
  robots worker -n 5 --redis-url redis://lab.example:6379

RQ's own command does the same, without the fork of a preloaded process and
without a password file:

  rq worker -w deploy.rq.worker.RobotWorker --url redis://lab.example robots
"""

app = App(name="worker", help_epilogue=EXAMPLES)


@app.default
@takes(ServiceSettings, but=("json_",))
def worker(
    *,
    count: Annotated[int, Parameter(name=["--count", "-n"], help="How many RQ workers.", metavar="N")] = 1,
    given: Given,
) -> int:
    """Start RQ workers for robots on this host."""
    place = load_service_settings(given)
    demand_linux()
    if not 1 <= count <= MOST_WORKERS:
        raise UsageError(f"--count: {count} is outside of what is allowed: 1 to {MOST_WORKERS}")
    run, address = (None, place.address) if place.address else _live(place)
    keep_heartbeat(place.heartbeats, "worker")
    with ShutdownSignals() as shutdown:
        with awaited(address, shutdown) as server:
            held_back = _held_back(server, run) if shutdown.reason is None else None
        report(f"{count} RQ worker{'s' * (count > 1)} for robots" + (f" of run {run}" if run else ""))
        if held_back is not None:
            report(f"run {held_back} is held back: robots that it was dealt are run, and none joins before robots go")
        group = WorkerGroup(address, count, report, server_watch(), place.heartbeats)
        left = group.run(shutdown, lambda: run is not None and not _is_live(place, run))
    if shutdown.reason is None and not left:
        raise EnvironmentFailure("no RQ worker is left")
    return INTERRUPTED if shutdown.reason == "interrupted" else 0


def _live(place: PlaceSettings) -> tuple[str, Address]:
    """The newest live run here, and its server, which ends with it. Raises NoSuchRun, EnvironmentFailure."""
    where = find_live(place.runs_dir, None, None)
    return where.run, where.address


def _held_back(server: Server, run: str | None) -> str | None:
    """The run that gets the RQ workers first, if it is held back."""
    with suppress(Unavailable):
        first = newest_on(server.data) if run is None else run
        return first if first is not None and is_held_back(server.data, first) else None
    return None


def _is_live(place: PlaceSettings, run: str) -> bool:
    try:
        find_live(place.runs_dir, run, None)
    except NoSuchRun:
        return False
    return True
