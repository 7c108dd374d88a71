"""`robots supervise`: a supervisor for a run without a parent, on any host that reaches its server."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from typing import Annotated, Final

from cyclopts import App, Parameter

from broker.errors import RunGone, Unavailable
from broker.relay.core import NewCore
from broker.streams.connection import Server
from broker.streams.outage import demand_answer
from broker.streams.run.evidence import StreamEvidenceReader
from broker.streams.run.supervisor_lease import read_leader
from deploy.attach.context import RunContext, context_on, read_metadata, read_run_info
from deploy.attach.discovery import RunLocation, RunOnServer
from deploy.commands.output import report
from deploy.commands.service import Run, RunLost, Served, await_live, away_limit_s, pause
from deploy.commands.service import stay as stay_on_server
from deploy.config.flags import Given, takes
from deploy.config.settings import ServiceSettings, load_service_settings
from deploy.errors import INTERRUPTED, EnvironmentFailure, NoMetadata
from deploy.lifecycle.closing import close, is_stopped
from deploy.observing.diagnosis import stall_watch
from deploy.observing.held_back import HeldBackLine
from deploy.processes.liveness import keep_heartbeat
from deploy.processes.signals import ShutdownSignals
from deploy.supervisor.injector import LiveInjector, NoChildren
from deploy.supervisor.supervisor import Observe, RunSupervisor
from robots.run.stop_rule import LOST
from telemetry.pipeline import Pipeline
from telemetry.plain.progress import Progress
from telemetry.record.folder import NoSuchRun
from telemetry.view import View

EXAMPLES: Final = """\
Examples:

  robots supervise --redis-url redis://lab.example:6379
  robots supervise 7b08e1 --redis-url redis://lab.example:6379
  robots supervise --stay --redis-url redis://lab.example:6379
"""


class _NoLocalProcesses:
    """No process of the run is on this host."""

    is_whole = True

    def __init__(self, shutdown: ShutdownSignals) -> None:
        self._shutdown = shutdown

    def poll(self, timeout_s: float, _read_end: int) -> None:
        pause(self._shutdown, timeout_s)


app = App(name="supervise", help_epilogue=EXAMPLES)


@app.default
@takes(ServiceSettings, but=("json_",))
def supervise(
    run: Run = None,
    /,
    *,
    stay: Annotated[bool, Parameter(help="Lead every run on the server that has no supervisor.")] = False,
    given: Given,
) -> int:
    """Lead a run that was dealt with `robots deal`, or stand by."""
    place = load_service_settings(given)
    keep_heartbeat(place.heartbeats, "supervise")
    with ShutdownSignals() as shutdown:
        if stay:
            stay_on_server(
                place, run, shutdown, _leaderless, "no run on the server lacks a supervisor; waiting for one"
            )
        elif (where := await_live(place, run, shutdown)) is not None:
            _supervise(where, shutdown)
    return INTERRUPTED if shutdown.reason == "interrupted" else 0


def _leaderless(held: RunOnServer, server: Server) -> Iterator[tuple[str, Served]]:
    """A task when a run has no supervisor that leads it now. Raises Unavailable."""
    leader = read_leader(server.data, held.run)
    if leader is None or not leader.leads:
        yield f"supervise:{held.run}", partial(_supervise, is_staying=True)


def _supervise(where: RunLocation, shutdown: ShutdownSignals, *, is_staying: bool = False) -> None:
    """Lead one run, to its end or until an interrupt. When the command `is_staying`, the run is one of many, and each
    line of progress names it. Raises NoSuchRun, RunLost, EnvironmentFailure, and ServerGone unless it `is_staying`."""
    with Server.at(where.address) as server:
        try:
            info = read_run_info(server.data, where.run)
            if is_stopped(server.data, where.run):
                report(f"run {where.run} is over; {_how_to_judge(where)}")
                return
            settings, deal = read_metadata(StreamEvidenceReader(server.data, where.run), where.run)
            prefix = f"{where.run} " * is_staying
            stalls = stall_watch(deal.get("indices"), settings.tick_us)
            with closing(Progress(lambda line: report(prefix + line), stalls)) as progress:
                context = context_on(server, info, f"supervisor:{secrets.token_hex(4)}", Pipeline(progress))
                injector = LiveInjector(context, NoChildren())
                held_back = HeldBackLine(
                    lambda line: report(prefix + line), f"robots go {where.run}, with the same server"
                )
                observe = _showing(progress, held_back, context, away_limit_s(is_staying=is_staying))
                supervisor = RunSupervisor(context, _NoLocalProcesses(shutdown), injector, shutdown, observe)
                report(f"run {where.run}: supervising it, or standing by")
                reason = supervisor.supervise()
            if shutdown.reason is not None:
                with suppress(RunGone, Unavailable):  # the lease runs out by itself
                    supervisor.leave()
                report(f"run {where.run}: left; it goes on")
            else:
                _end(where, supervisor, reason, info.new_core, server, shutdown)
        except (RunGone, NoMetadata) as error:
            raise _lost(where.run) if isinstance(error, RunGone) else NoSuchRun(str(error)) from None
        except Unavailable as error:
            raise EnvironmentFailure(f"the server of run {where.run} went away: {error}") from None


def _end(
    where: RunLocation,
    supervisor: RunSupervisor,
    reason: str,
    new_core: NewCore,
    server: Server,
    shutdown: ShutdownSignals,
) -> None:
    """Of several supervisors, the leader ends the run in order. A lost run is ended by each that finds it lost: the
    others need not know. Raises RunLost."""
    if supervisor.is_leading or reason == LOST:
        supervisor.stop(reason)
        with suppress(RunGone):  # another supervisor was faster
            close(server, where.address, where.run, new_core, lambda: shutdown.reason is None, report)
            supervisor.leave()
    if reason == LOST:
        raise _lost(where.run)
    report(f"run {where.run} is over ({reason}); {_how_to_judge(where)}")


def _showing(progress: Progress, held_back: HeldBackLine, context: RunContext, limit_s: float | None) -> Observe:
    """Raises ServerGone."""
    clock = context.events.clock

    def observe(view: View, away_s: float) -> None:
        progress.observe(view, clock.wall_us(), away_s)
        held_back.observe(view)
        demand_answer(away_s, limit_s)

    return observe


def _how_to_judge(where: RunLocation) -> str:
    if where.parent is not None:
        return f"judge it with: robots verify {where.run}"
    return f"record and judge it with: robots verify --wait {where.run}"


def _lost(run: str) -> RunLost:
    return RunLost(f"the server lost run {run}, or a part of it; nothing can be proven of it")
