"""A live run from its first process to its last: deal, fork, supervise, stop, collect. The parent's whole work.

The parent has no event loop and no threads, because it forks. Whatever happens to it, nothing stays behind: children
die with their parent, and the janitor removes the rest.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from broker.control_entries import PlanChange
from broker.errors import Unavailable
from broker.faults.scheduler import Conductor
from broker.ports.run import Evidence
from broker.streams.connection import connect
from broker.streams.retry import PATIENCE_S, insist_blocking
from broker.streams.run.control import StreamDesk
from broker.streams.run.events import KEPT
from deploy import STARTED_S
from deploy.attach.context import Brief, vantage_on
from deploy.config.experiment import Prepared
from deploy.errors import Unable
from deploy.fleet.local import LiveFleet
from deploy.processes.janitor import Janitor
from deploy.processes.server import Server
from deploy.processes.signals import Endings
from deploy.rq.queue import enqueue_robot, withdraw_robot, withdraw_workers
from deploy.supervisor.injector import LiveVictims
from deploy.supervisor.supervisor import LOST, Look, NobodyBorn, RunSupervisor
from telemetry.events import RunDealt
from telemetry.pipeline import Next
from telemetry.record.folder import Record
from telemetry.stream.spill import collecting


class Outcome(msgspec.Struct, frozen=True):
    """A run that has ended. Times are microseconds since the command's start."""

    evidence: Evidence
    ended: str  # complete, limit, stopped, interrupted, lost
    born_us: int | None
    total_us: int


class LiveRun:
    """The parent, between the fork of its first child and the death of its last. `papers` are dealt with the run."""

    def __init__(
        self,
        run: str,
        prepared: Prepared,
        papers: tuple[bytes, ...],
        server: Server,
        janitor: Janitor,
        endings: Endings,
        record: Record,
        sink: Next,
        look: Look,
    ) -> None:
        self._run = run
        self._prepared = prepared
        self._papers = papers
        self._server = server
        self._janitor = janitor
        self._endings = endings
        self._folder = record.folder
        self._look = look
        self._logs = record.folder / "logs"
        self._client = connect(server.url)
        self._desk = StreamDesk(self._client, run)
        brief = Brief(run, tuple(prepared.deal.robots), prepared.terms, prepared.plan, prepared.bounds)
        self._vantage = vantage_on(self._client, brief, "lab", sink, KEPT)
        self._events = self._vantage.events

    def run(self) -> Outcome:
        """Everything, in order. Whatever is raised: all children have ended when this returns, and a server that is
        not ours holds nothing of the run."""
        self._logs.mkdir()
        announcing = announced(self._folder, self._server.url, self._janitor)
        with announcing, collecting(self._run, self._janitor) as self._spilled:
            self._fleet = LiveFleet(self._vantage, self._server, self._janitor, self._logs)
            try:
                return self._with_fleet()
            finally:
                self._leave()

    def _with_fleet(self) -> Outcome:
        self._deal()
        victims = LiveVictims(self._vantage, self._fleet)
        supervisor = RunSupervisor(
            self._vantage, self._fleet, victims, self._endings, self._look, dealt_s=time.monotonic()
        )
        self._fleet.start(lambda: self._endings.reason is None)
        try:
            reason = self._endings.reason or supervisor.supervise()
        except NobodyBorn as error:
            raise Unable(f"{error}; see {self._logs}") from None
        self._stop(supervisor, reason)
        born_us = None if supervisor.born_s is None else round(supervisor.born_s * 1_000_000)
        return Outcome(self._desk.collect(), reason, born_us, round((time.monotonic() - STARTED_S) * 1_000_000))

    def _deal(self) -> None:
        prepared, deal = self._prepared, self._prepared.deal
        first = Conductor(prepared.plan, prepared.bounds.for_us).first
        self._desk.deal(deal.dealing(self._run, prepared.terms, first, self._papers))
        self._events.emit(RunDealt(len(deal.robots), len(deal.parts)))
        for robot in deal.robots:
            enqueue_robot(self._client, self._run, robot)

    def _stop(self, supervisor: RunSupervisor, reason: str) -> None:
        """Robots first, so that nothing is sent any more; then RQ workers; then the relays, which drain."""
        self._fleet.cease()
        supervisor.stop(reason)
        self._fleet.end_workers()
        self._fleet.attend(0, self._endings.ear)
        if reason != LOST:
            self._desk.change(PlanChange(()))  # whatever a partition holds back comes free
        self._fleet.drain()
        with suppress(Unavailable):  # the record is made all the same, from what was heard
            self._events.hear_out(PATIENCE_S)
        self._events.hear_also(self._spilled())  # of processes that died while the server was away

    def _leave(self) -> None:
        """End what still lives, our server last, because the others need it; leave no trace on another's server."""
        self._fleet.end_all_but_server()
        if not self._server.is_our_own:
            self._client.close()  # whatever was interrupted on it
            with suppress(Unavailable):
                insist_blocking("leaving", self._withdraw)
                self._desk.forget()
        self._fleet.end_server()
        self._client.close()

    def _withdraw(self) -> None:
        for robot in self._vantage.board.robots:
            withdraw_robot(self._client, self._run, robot)
        withdraw_workers(self._client, self._fleet.rq_names)


@contextmanager
def announced(folder: Path, url: str, janitor: Janitor) -> Iterator[None]:
    """Within, `live.json` tells other commands of this user where the run's server is. The URL may hold a password."""
    path, draft = folder / "live.json", folder / ".live.json.draft"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump({"url": url, "pid": os.getpid()}, file)
    janitor.file(path)
    draft.replace(path)  # whole, or not there
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
