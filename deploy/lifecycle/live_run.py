"""A live run from its first process to its last, in the parent: deal, fork, supervise, stop, collect.

The parent has no event loop and no threads, because it forks. Nothing stays behind when it is killed: children die with
their parent, and the janitor removes the rest.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from broker.control_entries import PlanChange
from broker.errors import Unavailable
from broker.ports.run import Evidence
from broker.streams.address import Address
from broker.streams.connection import Server
from broker.streams.retry import RETRY_S, retry_blocking
from broker.streams.run.control import StreamRunControl
from broker.streams.run.events import KEPT
from broker.streams.run.evidence import StreamEvidenceReader
from deploy import STARTED_S
from deploy.attach.context import RunInfo, context_on
from deploy.config.experiment import Experiment
from deploy.errors import EnvironmentFailure
from deploy.fleet.local import LocalFleet
from deploy.lifecycle.closing import remove
from deploy.lifecycle.tracing import follower_of
from deploy.processes.children import Children
from deploy.processes.enter_key import EnterKey
from deploy.processes.janitor import Janitor
from deploy.processes.server import RunServer
from deploy.processes.signals import ShutdownSignals
from deploy.rq.queue import enqueue_robot, withdraw_workers
from deploy.supervisor.injector import LiveInjector
from deploy.supervisor.supervisor import NoRobotBorn, Observe, RunSupervisor
from robots.run.stop_rule import LOST
from telemetry.events import RunDealt
from telemetry.otlp.endpoint import Endpoint
from telemetry.pipeline import Next
from telemetry.record.folder import Record
from telemetry.stream.spill import collecting

FOLLOWER: Final = "traces"
FOLLOWER_END_S: Final = 5.0  # for the follower to deliver what is left, before it is killed


class Outcome(msgspec.Struct, frozen=True):
    """A run that has ended. Times are microseconds since the command's start."""

    evidence: Evidence
    ended: str  # complete, limit, stopped, interrupted, lost
    born_us: int | None
    total_us: int


class Host(NamedTuple):
    """What the parent of a run uses on its host. `enter` lets a run begin that is held back."""

    server: RunServer
    janitor: Janitor
    shutdown: ShutdownSignals
    enter: EnterKey = EnterKey(is_used=False)


class Tracing(NamedTuple):
    """A collector that gets the run's traces while it lives, and where a follower prints trouble (None: on our own
    standard error)."""

    endpoint: Endpoint
    log: Path | None


class LiveRun:
    """The parent, between the fork of its first child and the death of its last. `metadata` are dealt with the run.
    With `tracing`, a follower is one more child; the run does not notice whether it lives."""

    def __init__(
        self,
        run: str,
        experiment: Experiment,
        metadata: tuple[bytes, ...],
        host: Host,
        record: Record,
        sink: Next,
        observe: Observe,
        tracing: Tracing | None = None,
    ) -> None:
        self._run = run
        self._experiment = experiment
        self._metadata = metadata
        self._run_server, self._janitor, self._shutdown, self._enter = host
        self._folder = record.folder
        self._observe = observe
        self._tracing = tracing
        self._followers: Children | None = None
        self._logs = record.folder / "logs"
        self._server = Server.at(self._run_server.address)
        self._run_control = StreamRunControl(self._server.data, run)
        info = RunInfo(
            run=run,
            robots=tuple(experiment.deal.robots),
            terms=experiment.terms,
            plan=experiment.plan,
            bounds=experiment.bounds,
            holders=experiment.deal.holders,
            lab=experiment.lab,
            thresholds=experiment.settings.anomalies,
            is_closed=experiment.settings.closed,
            is_held=experiment.settings.hold,
        )
        self._context = context_on(self._server, info, "lab", sink, KEPT)
        self._events = self._context.events

    def run(self) -> Outcome:
        """All of it, in order. When this returns or raises, all children have ended, and a shared server holds
        nothing of the run."""
        self._logs.mkdir()
        announcing = announced(self._folder, self._run_server.address, self._janitor)
        with announcing, collecting(self._run, self._janitor) as self._spilled:
            self._fleet = LocalFleet(self._context, self._run_server, self._janitor, self._logs)
            try:
                return self._with_fleet()
            finally:
                self._leave()

    def _with_fleet(self) -> Outcome:
        self._deal()
        injector = LiveInjector(self._context, self._fleet)
        supervisor = RunSupervisor(
            self._context,
            self._fleet,
            injector,
            self._shutdown,
            self._observe,
            time.monotonic(),
            self._enter.was_pressed,
        )
        self._fleet.start(lambda: self._shutdown.reason is None)
        self._start_follower()
        try:
            reason = self._shutdown.reason or supervisor.supervise()
        except NoRobotBorn as error:
            raise EnvironmentFailure(f"{error}; see {self._logs}") from None
        self._stop(supervisor, reason)
        born_us = None if supervisor.born_s is None else round(supervisor.born_s * 1_000_000)
        evidence = StreamEvidenceReader(self._server.data, self._run).collect()
        if reason != "interrupted" and self._events.has_server_forgotten():  # it may have, until the last read
            reason = LOST
        return Outcome(evidence, reason, born_us, round((time.monotonic() - STARTED_S) * 1_000_000))

    def _deal(self) -> None:
        experiment, deal = self._experiment, self._experiment.deal
        first = experiment.first_plan
        self._run_control.deal(deal.run_spec(self._run, experiment.terms, first, self._metadata))
        self._events.emit(RunDealt(len(deal.robots), len(deal.parts)))
        for robot in deal.robots:
            enqueue_robot(self._server.control, self._run, robot)

    def _start_follower(self) -> None:
        """Among children of its own: its death is no death of the fleet."""
        if self._tracing is None:
            return
        self._followers = Children(self._janitor)
        body = follower_of(self._tracing.endpoint, self._run_server.address.data, self._run, self._folder)
        self._followers.start(FOLLOWER, body, self._tracing.log)

    def _stop(self, supervisor: RunSupervisor, reason: str) -> None:
        """Robots first, so that nothing is sent any more; then RQ workers; then relays, which drain."""
        self._fleet.cease()
        supervisor.stop(reason)
        self._fleet.end_workers()
        self._fleet.poll(0, self._shutdown.read_end)
        if reason != LOST:
            self._run_control.change(PlanChange(()))  # what a partition holds back is released
        self._fleet.drain()
        with suppress(Unavailable):  # the record is made all the same, from the events that were read
            self._events.read_to_end(RETRY_S)
        self._events.read_frames(self._spilled())  # of processes that died while the server was away

    def _leave(self) -> None:
        """End all processes, our own server last, because the others need it; remove the run from a shared server."""
        self._fleet.end_all_but_server()
        if self._followers is not None:
            self._followers.end_all(FOLLOWER_END_S)
        if not self._run_server.is_our_own:
            self._server.close()  # a command may have been interrupted on it
            with suppress(Unavailable):
                names, control = self._fleet.rq_names, self._server.control
                retry_blocking("withdrawal", lambda: withdraw_workers(control, names))
                remove(self._server, self._run_control, self._run, self._context.job_table.robots)
        self._fleet.end_server()
        self._server.close()


@contextmanager
def announced(folder: Path, address: Address, janitor: Janitor) -> Iterator[None]:
    """Within, `live.json` tells other commands of this user where the run's server is. It may hold a password."""
    path, draft = folder / "live.json", folder / ".live.json.draft"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump({"control": address.control, "data": address.data, "pid": os.getpid()}, file)
    janitor.file(path)
    draft.replace(path)  # whole or not at all
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
