"""How commands reach a live run: the run that is meant, and for the long-running ones (`robots supervise`, `relay`,
`worker`, `verify --wait`) how they wait for it, and go on to the next one. No command is here.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Annotated, Final

from cyclopts import Parameter

from broker.errors import Unavailable
from broker.streams.address import Address
from broker.streams.connection import DataClient, Server, ServerAway
from deploy.attach.discovery import RunLocation, find_live, newest_on
from deploy.attach.live_plan import LivePlan, live_plan
from deploy.commands.output import report
from deploy.config.settings import PlaceSettings
from deploy.errors import EnvironmentFailure
from deploy.processes.liveness import beat
from deploy.processes.signals import ShutdownSignals
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


def serve(
    place: PlaceSettings,
    run: str | None,
    is_staying: bool,
    shutdown: ShutdownSignals,
    do: Callable[[RunLocation], None],
) -> None:
    """`do` something for the run that is meant. On a server that is named, and with no run named, that is the next one
    that is dealt there if none is live yet; and with `is_staying`, all that follow too, one after the other, also after
    one that is lost or cannot be served. When the server went away, it waits for it and serves the same run again.

    Raises NoSuchRun, RunLost, UsageError, UnsupportedServer, EnvironmentFailure.
    """
    served: list[str] = []
    is_staying = is_staying and run is None and place.address is not None
    while (where := await_live(place, run, shutdown, served)) is not None:
        served.append(where.run)
        try:
            do(where)
        except (NoSuchRun, EnvironmentFailure, ServerAway) as error:
            if not is_staying:
                raise
            report(str(error))
            if not isinstance(error, NoSuchRun | RunLost):
                served.remove(where.run)
                pause(shutdown, _POLL_S)
        if not is_staying or shutdown.reason is not None:
            return


def await_live(
    place: PlaceSettings,
    run: str | None,
    shutdown: ShutdownSignals,
    but: Collection[str] = (),
    newest: Newest = newest_on,
) -> RunLocation | None:
    """The live run that is meant. Where that is the newest on a server that is named, it waits for one that is none of
    `but`; None when the command is interrupted before. Raises NoSuchRun, UsageError, UnsupportedServer,
    EnvironmentFailure."""
    if run is not None or place.address is None:
        return find_live(place.runs_dir, run, place.address)
    with awaited(place.address, shutdown) as server:
        while (name := _next_run(server.data, but, shutdown, newest)) is not None:
            with suppress(NoSuchRun, ServerAway):  # removed since, or gone for a while
                return find_live(place.runs_dir, name, place.address)
    return None


@contextmanager
def reached(address: Address) -> Iterator[Server]:
    """The server at an address, which was checked. Raises UnsupportedServer."""
    with Server.at(address) as server:
        server.check()
        yield server


@contextmanager
def awaited(address: Address, shutdown: ShutdownSignals) -> Iterator[Server]:
    """The same, once it answers: a long-running command may be started before its server, on any host. When the command
    is interrupted before, it was not checked. Raises UnsupportedServer."""
    with Server.at(address) as server:
        is_reported = False
        while shutdown.reason is None:
            try:
                server.check()
                break
            except ServerAway as error:
                if not is_reported:
                    report(f"{error}; waiting for it")
                    is_reported = True
                pause(shutdown, _POLL_S)
        yield server


def pause(shutdown: ShutdownSignals, seconds: float) -> None:
    """Wait so long, or until the command is interrupted; a heartbeat."""
    beat()
    select.select([shutdown.read_end], [], [], seconds)
    shutdown.drain()


def _next_run(client: DataClient, but: Collection[str], shutdown: ShutdownSignals, newest: Newest) -> str | None:
    """The newest run, once there is one that is none of `but`; None when the command is interrupted before. A server
    that goes away comes back."""
    is_reported = False
    while shutdown.reason is None:
        run = None
        with suppress(Unavailable):
            run = newest(client)
        if run is not None and run not in but:
            return run
        if not is_reported:
            report("no run is live on the server that is not recorded or served; waiting for one to be dealt")
            is_reported = True
        pause(shutdown, _POLL_S)
    return None
