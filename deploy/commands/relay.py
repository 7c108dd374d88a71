"""`robots relay`: a standby relay for a live run, on any host that reaches its server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Annotated, Final

from cyclopts import App, Parameter

from broker.errors import RunGone, Unavailable
from broker.streams.connection import Server, connect
from broker.streams.run.probes import holds_run, relay_lease_left_ms
from broker.streams.run.runs import read_run_status
from deploy.attach.context import new_core_of, read_terms
from deploy.attach.discovery import RunLocation, RunOnServer, is_alive
from deploy.commands.output import report
from deploy.commands.service import Run, Served, await_live, reached, server_watch
from deploy.commands.service import stay as stay_on_server
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
    stay: Annotated[bool, Parameter(help="Relay every shard on the server that has no relay.")] = False,
    given: Given,
) -> int:
    """Relay a shard of a live run, or stand by for one."""
    place = load_service_settings(given)
    keep_heartbeat(place.heartbeats, "relay")
    with ShutdownSignals() as shutdown:
        if stay:
            waiting = "no shard on the server lacks a relay; waiting for one"
            stay_on_server(place, run, shutdown, partial(_relayless, only=shard), waiting)
        elif (where := await_live(place, run, shutdown)) is not None:
            _relay(where, shutdown, shard)
    return INTERRUPTED if shutdown.reason == "interrupted" else 0


def _relayless(held: RunOnServer, server: Server, only: int | None) -> Iterator[tuple[str, Served]]:
    """A task for each shard that has no relay now. Raises Unavailable."""
    for shard in range(held.status.shards):
        if only in (None, shard) and not relay_lease_left_ms(server.data, held.run, shard):
            yield f"relay:{shard}:{held.run}", partial(_relay, shard=shard, is_staying=True)


def _relay(where: RunLocation, shutdown: ShutdownSignals, shard: int | None, *, is_staying: bool = False) -> None:
    """For one run. Raises NoSuchRun, UsageError, EnvironmentFailure, UnsupportedServer, and ServerGone unless it
    `is_staying`."""
    try:
        with reached(where.address) as server:
            terms = read_terms(server.data, where.run)
        wanted = _wanted(where.run, terms.shards, shard)
        report(f"run {where.run}: standing by for shard {', '.join(map(str, wanted))}")
        new_core = new_core_of(where.run, terms)
        on_event = partial(_report, where.run)
        about_run = (where.address.data, where.run, wanted, new_core)
        watch = server_watch(is_staying=is_staying)
        standby(*about_run, lambda: _is_to_leave(where, shutdown), on_event, watch)
    except (RunGone, NoMetadata):
        raise NoSuchRun(f"run {where.run} is not dealt yet, or not by this lab") from None
    except Unavailable as error:
        if not _is_removed(where):
            raise EnvironmentFailure(f"run {where.run} cannot be relayed any more: {error}") from None
        report(f"run {where.run} is over, its server does not hold it any more")
        return
    if shutdown.reason is not None:
        report(f"run {where.run}: left")
    elif not _is_held(where):
        report(f"run {where.run} is over, its server does not hold it any more")
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


def _is_held(where: RunLocation) -> bool:
    """Whether the server still holds the run; one that has ended with the run's parent may."""
    with connect(where.address.data) as client, suppress(Unavailable):
        return holds_run(client, where.run)
    return True


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


def _report(run: str, event: AnyEvent) -> None:
    if isinstance(event, RelayResumed):
        report(f"run {run}: relaying shard {event.shard}; {event.pending} pending entries redone")
    elif isinstance(event, RelayDeposed):
        report(f"run {run}: shard {event.shard} has another relay now; standing by")
