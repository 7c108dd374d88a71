"""`robots deal`: a run that begins on a server, for RQ workers, relays and supervisors on any hosts."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import Annotated, Final

from cyclopts import App, Parameter

from broker.errors import Unavailable
from broker.streams.address import Address
from broker.streams.run.control import StreamRunControl
from deploy.attach.context import metadata_of
from deploy.attach.discovery import newest_on
from deploy.attach.events import RunEvents
from deploy.commands.output import print_result, report
from deploy.commands.outputs import DealtRun, answer_line
from deploy.commands.service import reached
from deploy.config.experiment import Experiment, prepare
from deploy.config.flags import PLACE, Given, takes
from deploy.config.settings import LabSettings
from deploy.errors import EnvironmentFailure, UsageError
from deploy.lifecycle.closing import remove
from deploy.lifecycle.recording import run_settings
from deploy.rq.queue import enqueue_robot
from deploy.version import version
from telemetry.events import RunDealt

EXAMPLES: Final = """\
Examples:

  robots deal --redis-url redis://lab.example:6379
  robots deal -n 25 --loss .3 --for 60s --redis-url redis://lab.example:6379

Then, on any hosts and in any order, with the same --redis-url:

  robots supervise
  robots relay
  robots worker -n 5
  robots verify --wait
"""


app = App(name="deal", help_epilogue=EXAMPLES)


@app.default
@takes(LabSettings, but=("output", "force", "ui", "handlers", "jaeger_url"))
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
        _deal(run, experiment, settings.address)
    except Unavailable as error:
        raise EnvironmentFailure(f"run {run} could not be dealt, the server went away: {error}") from None
    if settings.json_:
        print_result(answer_line(DealtRun(run, settings.robots, len(experiment.deal.parts), settings.seed)))
    else:
        print_result("\n".join(_lines(run, experiment)))
    return 0


def _live_on(address: Address) -> str | None:
    """The newest run that goes on there. Two who ask at the same time may both find none. Raises UnsupportedServer,
    EnvironmentFailure."""
    try:
        with reached(address) as server:
            return newest_on(server.data)
    except Unavailable as error:
        raise EnvironmentFailure(f"the server went away: {error}") from None


def _deal(run: str, experiment: Experiment, address: Address) -> None:
    """All of the run, or nothing of it when the server fails. Raises UnsupportedServer, Unavailable."""
    deal = experiment.deal
    metadata = metadata_of(run_settings(run, "run", version(), experiment), deal.record())
    first = experiment.first_plan
    with reached(address) as server:
        run_control = StreamRunControl(server.data, run)
        try:
            run_control.deal(deal.run_spec(run, experiment.terms, first, metadata))
            events = RunEvents(server.data, run, "lab", lambda _stamped: None)
            events.emit(RunDealt(len(deal.robots), len(deal.parts)))
            events.publish()
            for robot in deal.robots:
                enqueue_robot(server.control, run, robot)
        except Unavailable:
            with suppress(Unavailable):
                remove(server, run_control, run, deal.robots)
            raise


def _lines(run: str, experiment: Experiment) -> list[str]:
    settings = experiment.settings
    return [
        f"run {run}  robots {settings.robots}  parts {len(experiment.deal.parts)}  seed {settings.seed}: dealt",
        "  on any host, with the same --redis-url:",
        "  robots supervise · robots relay · robots worker -n 5 · robots ps · robots stop",
        f"  robots verify --wait {run}",
    ]
