"""`robots deal`: a run that begins on a server, and is then run by whoever comes: RQ workers, relays, supervisors."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Final

from cyclopts import Parameter

from broker.errors import Unavailable
from broker.faults.process_faults import ProcessFault
from broker.faults.scheduler import Conductor
from broker.streams.connection import check_server, connect
from broker.streams.run.control import StreamDesk
from deploy.attach.context import papers_of
from deploy.attach.events import RunEvents
from deploy.commands.output import show
from deploy.config.experiment import Prepared, prepare
from deploy.config.host import version
from deploy.config.settings import MOST_LIVE, Experiment, given
from deploy.errors import Unable, Unfit
from deploy.lifecycle.closing import remove
from deploy.lifecycle.recording import json_line, settings_row
from deploy.rq.queue import enqueue_robot
from telemetry.events import RunDealt

EXAMPLES: Final = """\
Examples:

  robots deal --redis-url redis://lab.example:6379
  robots deal -n 25 --loss .3 --for 60s --seed 7 --redis-url redis://lab.example:6379

Then, on any hosts and in any order, with the same --redis-url:

  robots supervise
  robots relay
  robots worker -n 5
  robots verify --wait
"""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Server:
    """Where."""

    redis_url: Annotated[str | None, Parameter(help="The server: redis://, rediss:// or unix://.")] = None


def deal(*, experiment: Experiment = Experiment(), server: Server = Server()) -> int:  # noqa: B008  (frozen values)
    """Deal a run on a server, for RQ workers on any hosts.

    Its robots are queued; nothing is started here and no record is made: `robots verify --wait` makes it, on any
    host."""
    prepared = prepare(given(experiment, server), most_robots=MOST_LIVE)
    settings = prepared.settings
    if settings.redis_url is None:
        raise Unfit("--redis-url: a server is needed that all who take part can reach; `robots run` has one of its own")
    for planned in prepared.plan:
        fault = planned.line.fault
        if isinstance(fault, ProcessFault) and fault.victim.kind in ("relay", "redis"):
            raise Unfit(f"fault {fault.text()}: no supervisor has a {fault.victim.kind} at hand; `robots run` has")
    run = secrets.token_hex(3)
    try:
        _deal(run, prepared, settings.redis_url)
    except Unavailable as error:
        raise Unable(f"run {run} could not be dealt, the server went away: {error}") from None
    if settings.json_:
        show(
            json_line({"run": run, "robots": settings.robots, "parts": len(prepared.deal.parts), "seed": settings.seed})
        )
    else:
        show("\n".join(_lines(run, prepared)))
    return 0


def _deal(run: str, prepared: Prepared, url: str) -> None:
    """All of it, or if the server allows nothing. Raises ServerUnfit, Unavailable."""
    deal = prepared.deal
    papers = papers_of(settings_row(run, "run", version(), prepared), deal.record())
    first = Conductor(prepared.plan, prepared.bounds.for_us).first
    with connect(url) as client:
        check_server(client)
        desk = StreamDesk(client, run)
        try:
            desk.deal(deal.dealing(run, prepared.terms, first, papers))
            events = RunEvents(client, run, "lab", lambda _stamped: None)
            events.emit(RunDealt(len(deal.robots), len(deal.parts)))
            events.publish()
            for robot in deal.robots:
                enqueue_robot(client, run, robot)
        except Unavailable:
            with suppress(Unavailable):
                remove(client, desk, run, deal.robots)
            raise


def _lines(run: str, prepared: Prepared) -> list[str]:
    settings = prepared.settings
    return [
        f"run {run}  robots {settings.robots}  parts {len(prepared.deal.parts)}  seed {settings.seed}: dealt",
        "  on any host, with the same --redis-url:",
        "  robots supervise · robots relay · robots worker -n 5 · robots ps · robots stop",
        f"  robots verify --wait {run}",
    ]
