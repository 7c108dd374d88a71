"""`robots deal`: a run that begins on a server, for RQ workers, relays and supervisors on any hosts."""

from __future__ import annotations

import secrets
from contextlib import suppress
from math import ceil
from typing import Annotated, Final, NamedTuple

from cyclopts import App, Parameter

from broker.errors import RunGone, Unavailable
from broker.streams.address import Address
from broker.streams.connection import Server
from broker.streams.run.control import StreamRunControl
from broker.streams.run.probes import holds_run
from deploy.attach.context import metadata_of
from deploy.attach.discovery import newest_on, runs_on
from deploy.attach.events import RunEvents
from deploy.commands.output import print_result, report
from deploy.commands.outputs import DealtRun, answer_line
from deploy.commands.service import reached
from deploy.config.experiment import Experiment, prepare
from deploy.config.flags import PLACE, Given, takes
from deploy.config.settings import MOST_WORKERS, LabSettings
from deploy.errors import EnvironmentFailure, UsageError
from deploy.lifecycle.closing import remove
from deploy.lifecycle.recording import run_settings
from deploy.rq.queue import count_workers, enqueue_while, queued_jobs
from deploy.version import version
from telemetry.events import RunDealt

EXAMPLES: Final = """\
Examples:

  robots deal --redis-url redis://lab.example:6379
  robots deal -n 25 --loss .3 --for 60s --redis-url redis://lab.example:6379
  robots deal -n 25 --closed --redis-url redis://lab.example:6379

Then, on any hosts and in any order, with the same --redis-url:

  robots supervise
  robots relay
  robots worker -n 25
  robots verify --wait
"""


class Found(NamedTuple):
    """On the server before the deal: how many RQ workers were free, how many robots stood in the queue, and which runs
    were live."""

    free: int
    queued: int
    live: list[str]

    def lacking(self, robots: int) -> int:
        """How many RQ workers are to be started for so many new robots."""
        return max(0, self.queued + robots - self.free)


MOST_NAMED: Final = 5  # of the runs that are live


app = App(name="deal", help_epilogue=EXAMPLES)


@app.default
@takes(LabSettings, but=("output", "force", "ui", "hz", "ascii", "handlers", "jaeger_url"))
def deal(
    *,
    unless_live: Annotated[bool, Parameter(group=PLACE, help="Deal nothing while a run goes on there.")] = False,
    given: Given,
) -> int:
    """Deal a run on a server, and queue its robots."""
    experiment = prepare(given, "cluster")
    settings = experiment.settings
    if settings.address is None:
        raise UsageError("--redis-url: a server that all hosts can reach is needed; `robots run` has one of its own")
    if unless_live and (live := _live_on(settings.address)) is not None:
        report(f"run {live} goes on; nothing is dealt")
        return 0
    run = secrets.token_hex(3)
    try:
        found = _deal(run, experiment, settings.address)
    except Unavailable as error:
        raise EnvironmentFailure(f"run {run} could not be dealt, the server went away: {error}") from None
    if found.live:
        report(_others(found.live))
    if settings.json_:
        print_result(answer_line(_dealt(run, experiment, found)))
    else:
        print_result("\n".join(_lines(run, experiment, found)))
    return 0


def _live_on(address: Address) -> str | None:
    """The newest run that goes on there. Two who ask at the same time may both find none. Raises UnsupportedServer,
    EnvironmentFailure."""
    try:
        with reached(address) as server:
            return newest_on(server.data)
    except Unavailable as error:
        raise EnvironmentFailure(f"the server went away: {error}") from None


def _deal(run: str, experiment: Experiment, address: Address) -> Found:
    """All of the run, or nothing of it when the server fails. Raises UnsupportedServer, Unavailable,
    EnvironmentFailure."""
    deal = experiment.deal
    metadata = metadata_of(run_settings(run, "run", version(), experiment), deal.record())
    first = experiment.first_plan
    with reached(address) as server:
        found = Found(count_workers(server.control).free, queued_jobs(server.control), _live(server))
        run_control = StreamRunControl(server.data, run)
        try:
            run_control.deal(deal.run_spec(run, experiment.terms, first, metadata))
            events = RunEvents(server.data, run, "lab", lambda _stamped: None)
            events.emit(RunDealt(len(deal.robots), len(deal.parts)))
            events.publish()
            for robot in deal.robots:
                enqueue_while(server.control, run, robot, lambda: holds_run(server.data, run))
        except (Unavailable, RunGone) as error:
            with suppress(Unavailable):
                remove(server, run_control, run, deal.robots)
            if isinstance(error, RunGone):
                raise EnvironmentFailure(f"run {run} was removed while it was dealt") from None
            raise
        return found


def _live(server: Server) -> list[str]:
    return [held.run for held in runs_on(server.data) if held.is_live]


def _dealt(run: str, experiment: Experiment, found: Found) -> DealtRun:
    settings = experiment.settings
    parts, start = len(experiment.deal.parts), found.lacking(settings.robots)
    return DealtRun(run, settings.robots, parts, settings.seed, settings.closed, found.live, found.free, start)


def _others(live: list[str]) -> str:
    """The line about other runs; RQ workers know no run."""
    if len(live) == 1:
        return f"another run is live on the server: {live[0]}; its RQ workers take robots of both runs"
    names = ", ".join(live[:MOST_NAMED]) + " …" * (len(live) > MOST_NAMED)
    return f"{len(live)} other runs are live on the server: {names}; their RQ workers take robots of all runs"


def advice(robots: int, found: Found) -> str:
    """How many RQ workers to start: one for each robot that has none."""
    short = found.lacking(robots)
    others = f", {found.queued} of other runs in the queue" * bool(found.queued)
    there = f"{robots} robots{others}, {found.free} RQ worker{'s' * (found.free != 1)} idle"
    if not short:
        return f"{there}: enough"
    hosts = ceil(short / MOST_WORKERS)
    where = f" on each of {hosts} hosts" * (hosts > 1)
    return f"{there}: start {short}, for example robots worker -n {ceil(short / hosts)}{where}"


def _lines(run: str, experiment: Experiment, found: Found) -> list[str]:
    settings = experiment.settings
    closed = "  closed" * settings.closed
    return [
        f"run {run}  robots {settings.robots}  parts {len(experiment.deal.parts)}  seed {settings.seed}{closed}: dealt",
        f"  {advice(settings.robots, found)}",
        "  on any host, with the same --redis-url:",
        "  robots supervise · robots relay · robots worker · robots ps · robots stop",
        *["  held back: it begins with robots go"] * settings.hold,
        f"  robots verify --wait {run}",
    ]
