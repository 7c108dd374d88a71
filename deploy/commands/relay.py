"""`robots relay`: a standby relay for a live run, on any host that reaches its server."""

from __future__ import annotations

import time
from typing import Annotated, Final

from cyclopts import App, Parameter

from broker.errors import RunGone, Unavailable
from broker.streams.connection import connect
from broker.streams.run.runs import read_run_status
from deploy.attach.context import new_core_of, read_terms
from deploy.attach.discovery import RunLocation, is_alive
from deploy.commands.output import report
from deploy.commands.service import Run, reached, serve
from deploy.config.flags import Given, takes
from deploy.config.settings import ServiceSettings, load_service_settings
from deploy.errors import INTERRUPTED, EnvironmentFailure, NoMetadata, UsageError
from deploy.fleet.relay_main import standby
from deploy.processes.liveness import beat, keep_heartbeat
from deploy.processes.signals import ShutdownSignals
from telemetry.events import AnyEvent, RelayDeposed, RelayResumed
from telemetry.record.folder import NoSuchRun

EXAMPLES: Final = """\
Examples:

  robots relay
  robots relay 7b08e1 --shard 1
  robots relay 7b08e1 --redis-url redis://lab.example:6379
  robots relay --stay --redis-url redis://lab.example:6379
"""


REMOVAL_S: Final = 2.0  # for another process to remove a run
_PAUSE_S: Final = 0.05

app = App(name="relay", help_epilogue=EXAMPLES)


@app.default
@takes(ServiceSettings, but=("json_",))
def relay(
    run: Run = None,
    /,
    *,
    shard: Annotated[int | None, Parameter(help="Only this shard. [default: the first free one]", metavar="N")] = None,
    stay: Annotated[bool, Parameter(help="Relay for the next run as well, and so on.")] = False,
    given: Given,
) -> int:
    """Relay a shard of a live run, or stand by for one."""
    place = load_service_settings(given)
    keep_heartbeat(place.heartbeats, "relay")
    with ShutdownSignals() as shutdown:
        serve(place, run, stay, shutdown, lambda where: _relay(where, shard, shutdown))
    return INTERRUPTED if shutdown.reason == "interrupted" else 0


def _relay(where: RunLocation, shard: int | None, shutdown: ShutdownSignals) -> None:
    """For one run. Raises NoSuchRun, UsageError, EnvironmentFailure, UnsupportedServer."""
    try:
        with reached(where.address) as server:
            terms = read_terms(server.data, where.run)
        wanted = _wanted(where.run, terms.shards, shard)
        report(f"run {where.run}: standing by for shard {', '.join(map(str, wanted))}")
        new_core = new_core_of(where.run, terms)
        standby(where.address.data, where.run, wanted, new_core, lambda: _is_to_leave(where, shutdown), _report)
    except (RunGone, NoMetadata):
        raise NoSuchRun(f"run {where.run} is not dealt yet, or not by this lab") from None
    except Unavailable as error:
        if not _is_removed(where):
            raise EnvironmentFailure(f"run {where.run} cannot be relayed any more: {error}") from None
        report(f"run {where.run} is over, its server does not hold it any more")
        return
    if shutdown.reason is not None:
        report(f"run {where.run}: left")
    else:
        wait = "" if where.parent is not None else "--wait "
        report(f"run {where.run} is over; judge it with: robots verify {wait}{where.run}")


def _is_removed(where: RunLocation) -> bool:
    """Whether the server does not hold the run any more, or not in a moment: a run that is being removed loses its
    orders last. Raises EnvironmentFailure."""
    deadline = time.monotonic() + REMOVAL_S
    try:
        with connect(where.address.data) as client:
            while read_run_status(client, where.run) is not None:
                if time.monotonic() > deadline:
                    return False
                time.sleep(_PAUSE_S)
            return True
    except Unavailable as error:
        raise EnvironmentFailure(f"the run's server is gone: {error}") from None


def _is_to_leave(where: RunLocation, shutdown: ShutdownSignals) -> bool:
    """Whether the command was interrupted, or the run's server ended with its parent; any other server comes back. A
    heartbeat, too: it is asked at each step."""
    beat()
    return shutdown.reason is not None or (where.parent is not None and not is_alive(where.parent))


def _wanted(run: str, shards: int, shard: int | None) -> tuple[int, ...]:
    """Raises UsageError."""
    if shard is not None and shard not in range(shards):
        raise UsageError(f"--shard: {shard} is no shard of run {run}; allowed is 0 to {shards - 1}")
    return tuple(range(shards)) if shard is None else (shard,)


def _report(event: AnyEvent) -> None:
    if isinstance(event, RelayResumed):
        report(f"relaying shard {event.shard}; {event.pending} pending entries redone")
    elif isinstance(event, RelayDeposed):
        report(f"shard {event.shard} has another relay now; standing by")
