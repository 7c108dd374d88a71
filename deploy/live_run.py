"""A live run from its first process to its last: deal, fork, go, watch, stop, collect. The parent's whole work.

The parent has no event loop and no threads, because it forks. It takes no part in the gossip: it knows of the run what
the stream of events tells, and its only words to robots are the orders. Whatever happens to it, nothing stays behind:
children die with their parent, and the janitor removes the rest.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from broker.conductor import Conductor
from broker.ports import Evidence, Unavailable
from broker.streams.connection import connect
from broker.streams.desk import StreamDesk
from broker.streams.event_source import KEPT, StreamEventSource
from broker.streams.hands import StreamHands
from broker.streams.keys import Keys
from broker.streams.patience import PATIENCE_S, insist_blocking
from deploy.endings import Endings
from deploy.environment import Unable
from deploy.event_feed import EventFeed
from deploy.janitor import Janitor
from deploy.live_fleet import LiveFleet
from deploy.plan_keeper import PlanKeeper
from deploy.prepared import Prepared
from deploy.robot_queue import enqueue_robot, withdraw_robot, withdraw_workers
from deploy.server import Server
from deploy.spills import discard_spilled, spilled
from deploy.started import STARTED_S
from deploy.victims import LiveVictims
from robots.chaos import Chaos
from robots.ending import ending
from telemetry.clock import SystemClock
from telemetry.events import RobotBorn, RunDealt, RunStarted, RunStopped, Stamped
from telemetry.pipeline import Emitter, Next
from telemetry.record import Record
from telemetry.view import View, fold

LOOK_S: Final = 0.03  # how often the parent looks at the events
START_US: Final = 3_000_000  # after the deal; robots that are born later start at once
LEAVE_S: Final = 3.0  # for robots to end their lives in order
BIRTH_LIMIT_US: Final = 30_000_000  # for the first robot to be born


class Outcome(msgspec.Struct, frozen=True):
    """A run that has ended. Times are microseconds since the command's start."""

    evidence: Evidence
    ended: str  # complete, limit, stopped, interrupted
    born_us: int | None
    total_us: int


Look = Callable[[View, float], None]
"""Shown the view and the seconds since the command's start, whenever the parent looks."""


class LiveRun:
    """The parent, between the fork of its first child and the death of its last."""

    def __init__(
        self,
        run: str,
        prepared: Prepared,
        server: Server,
        janitor: Janitor,
        endings: Endings,
        record: Record,
        sink: Next,
        look: Look,
    ) -> None:
        self._run = run
        self._prepared = prepared
        self._robots = prepared.deal.robots
        self._server = server
        self._janitor = janitor
        self._endings = endings
        self._record = record
        self._sink = sink
        self._look = look
        self._client = connect(server.url)
        self._desk = StreamDesk(self._client, run)
        self._feed = EventFeed(StreamEventSource(self._client, Keys(run).events, KEPT))
        self._emitter = Emitter(run, "lab", 0, SystemClock(), self._take)
        self._view = View()
        conductor = Conductor(prepared.plan, prepared.bounds.for_us)
        self._first_plan = conductor.first
        self._plan = PlanKeeper(conductor, self._desk)
        self._go_us: int | None = None  # since the command's start
        self._logs = record.folder / "logs"

    def run(self) -> Outcome:
        """Everything, in order. Whatever is raised: all children have ended when this returns, and a server that is
        not ours holds nothing of the run."""
        deal, terms = self._prepared.deal, self._prepared.terms
        self._logs.mkdir()
        self._janitor.spills(self._run)
        with announced(self._record.folder, self._server.url, self._janitor):
            emit = self._emitter.emit
            self._fleet = LiveFleet(
                self._run, deal.robots, terms, self._server, self._client, self._janitor, self._logs, emit
            )
            hands = StreamHands(self._client, self._run)
            self._victims = LiveVictims(self._run, deal, self._fleet.children, hands, self._fleet.worker_of)
            self._chaos = Chaos(terms.seed, terms.robots, self._fleet.log, self._victims, emit)
            try:
                self._desk.deal(deal.dealing(self._run, terms, self._first_plan))
                self._emitter.emit(RunDealt(len(deal.robots), len(deal.parts)))
                return self._with_fleet()
            finally:
                self._leave()

    def _with_fleet(self) -> Outcome:
        self._start_fleet()
        born_us = self._await_births()
        reason = self._endings.reason or self._until_the_end()
        self._stop(reason)
        return Outcome(self._desk.collect(), reason, born_us, self._elapsed_us())

    def _start_fleet(self) -> None:
        for robot in self._robots:
            enqueue_robot(self._client, self._run, robot)
        self._fleet.start(lambda: self._endings.reason is None)

    def _await_births(self) -> int | None:
        """Until all dealt robots are born, or it has taken too long; then `go`."""
        dealt_us = self._elapsed_us()
        while self._view.born < self._view.dealt and self._endings.reason is None:
            self._wait()
            waited_us = self._elapsed_us() - dealt_us
            if waited_us >= START_US and self._view.born:
                break
            if waited_us >= BIRTH_LIMIT_US:
                raise Unable(f"no robot was born within {BIRTH_LIMIT_US // 1_000_000} s; see {self._logs}")
        born_us = self._elapsed_us() if self._view.born == self._view.dealt else None
        self._plan.begin()
        self._desk.order("go")
        self._go_us = self._elapsed_us()
        self._emitter.emit(RunStarted(self._view.born))
        return born_us

    def _until_the_end(self) -> str:
        """Watch until the run ends; why it did."""
        while True:
            now_us = self._wait()
            reason = ending(self._view, now_us, self._prepared.bounds, self._is_settled(now_us))
            if self._endings.reason or reason is not None:
                return self._endings.reason or str(reason)

    def _stop(self, reason: str) -> None:
        """Robots first, so that nothing is sent any more; then RQ workers; then the relays, which drain."""
        self._fleet.cease()
        self._desk.order("stop", reason.encode())
        self._emitter.emit(RunStopped(reason))
        deadline = time.monotonic() + LEAVE_S
        while self._view.living and time.monotonic() < deadline:
            self._wait()
        self._fleet.end_workers()
        self._fleet.attend(0, self._endings.ear)
        self._plan.end()
        self._fleet.drain()
        self._read_events(PATIENCE_S)
        for stamped in self._feed.hear(spilled(self._run)):  # of processes that died while the server was away
            self._take(stamped)

    def _leave(self) -> None:
        """End what still lives, our server last, because the others need it; leave no trace on another's server."""
        self._fleet.end_all_but_server()
        discard_spilled(self._run)
        if not self._server.is_our_own:
            self._client.close()  # whatever was interrupted on it
            with suppress(Unavailable):
                insist_blocking("leaving", self._withdraw)
                self._desk.forget()
        self._fleet.end_server()
        self._client.close()

    def _withdraw(self) -> None:
        for robot in self._robots:
            withdraw_robot(self._client, self._run, robot)
        withdraw_workers(self._client, self._fleet.rq_names)

    def _wait(self) -> int:
        """A moment; then deaths, events, requests and what the plan has for now are dealt with. When that was, in
        microseconds since go."""
        self._fleet.attend(self._pause_s(), self._endings.ear)
        self._endings.drain()
        self._read_events()
        now_us = self._since_go_us()
        if self._view.stopped is None:
            self._conduct(now_us)
        self._look(self._view, self._elapsed_us() / 1e6)
        return now_us

    def _conduct(self, now_us: int) -> None:
        """Faults of the network, and of processes."""
        self._plan.keep(now_us)
        deeds = self._plan.deeds(now_us)
        if deeds or not self._chaos.is_idle:
            self._fleet.see_who_runs_whom()
            self._chaos.play(deeds, self._victims.living)

    def _is_settled(self, now_us: int) -> bool:
        return self._plan.is_settled(now_us) and self._chaos.is_idle and self._fleet.is_whole

    def _pause_s(self) -> float:
        """Until the next look: shorter when the plan changes before it would be due."""
        now_us = self._since_go_us()
        due_us = self._plan.next_due_us(now_us)
        return LOOK_S if due_us is None else min(LOOK_S, max(0, due_us - now_us) / 1e6)

    def _since_go_us(self) -> int:
        """Negative before the order go."""
        return -1 if self._go_us is None else self._elapsed_us() - self._go_us

    def _read_events(self, patience_s: float = 0.0) -> None:
        is_any_born = False
        for stamped in self._feed.read(patience_s):
            self._take(stamped)
            is_any_born |= isinstance(stamped.event, RobotBorn)
        if is_any_born:
            self._fleet.see_who_runs_whom()

    def _take(self, stamped: Stamped) -> None:
        self._view = fold(self._view, stamped)
        self._sink(stamped)

    def _elapsed_us(self) -> int:
        return round((time.monotonic() - STARTED_S) * 1_000_000)


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
