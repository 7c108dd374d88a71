"""A live run from its first process to its last: deal, fork, go, watch, stop, collect. The parent's whole work.

The parent has no event loop and no threads, because it forks. It takes no part in the gossip: it knows of the run what
the stream of events tells, and its only words to robots are the orders. Whatever happens to it, nothing stays behind:
children die with their parent, and the janitor removes the rest.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from broker.conductor import Conductor
from broker.ports import Evidence, Unavailable
from broker.streams.connection import connect
from broker.streams.desk import StreamDesk
from broker.streams.event_source import KEPT, StreamEventSource
from broker.streams.keys import Keys
from broker.streams.patience import insist_blocking
from deploy.endings import Endings
from deploy.environment import Unable
from deploy.event_feed import EventFeed
from deploy.fleet import Death, Fleet
from deploy.janitor import Janitor
from deploy.plan_keeper import PlanKeeper
from deploy.prepared import Prepared
from deploy.relay_process import relay
from deploy.relays import Relays
from deploy.robot_queue import enqueue_robot, robots_of, withdraw_robot, withdraw_workers
from deploy.rq_worker import work
from deploy.server import Server
from deploy.started import STARTED_S
from robots.ending import ending
from telemetry.clock import SystemClock
from telemetry.events import ProcessDied, ProcessStarted, RobotBorn, RunDealt, RunStarted, RunStopped, Stamped
from telemetry.pipeline import Emitter, Next
from telemetry.record import Record
from telemetry.view import View, fold

LOOK_S: Final = 0.03  # how often the parent looks at the events
START_US: Final = 3_000_000  # after the deal; robots that are born later start at once
LEAVE_S: Final = 3.0  # for robots to end their lives in order
END_S: Final = 5.0  # for processes to end, before they are killed
SERVER: Final = "redis"  # the fleet's name for a server of our own
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
        # RQ workers do not bear robots' names: which of them runs which, the queue decides.
        self._workers = [f"w{number:02d}" for number in range(len(self._robots))]
        self._ran: dict[str, str] = {}  # robots, by RQ's name of their RQ worker
        self._logs = record.folder / "logs"

    def run(self) -> Outcome:
        """Everything, in order. Whatever is raised: all children have ended when this returns, and a server that is
        not ours holds nothing of the run."""
        deal, terms = self._prepared.deal, self._prepared.terms
        self._logs.mkdir()
        with announced(self._record.folder, self._server.url, self._janitor):
            self._fleet = Fleet(self._janitor)
            self._relays = Relays(terms.shards, self._fleet, self._spawn_relay, self._emitter.emit)
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
        if self._server.pid is not None:
            self._fleet.adopt(SERVER, self._server.pid)
            self._emitter.emit(ProcessStarted(SERVER, self._server.pid))
        for robot in self._robots:
            enqueue_robot(self._client, self._run, robot)
        self._client.close()  # children must not share its connection
        self._relays.start()
        for worker in self._workers:
            if self._endings.reason is not None:
                return
            self._start(f"rq:{worker}", partial(_rq_worker, self._server.url, self._rq_name(worker)))

    def _rq_name(self, worker: str) -> str:
        return f"{self._run}.{worker}"

    def _spawn_relay(self, name: str, shard: int, incarnation: int, holder: str, is_last: bool) -> None:
        seed = self._prepared.settings.seed
        body = partial(relay, self._server.url, self._run, shard, seed, incarnation, holder, is_last)
        self._start(name, body)

    def _start(self, name: str, body: Callable[[], int]) -> None:
        pid = self._fleet.start(name, body, self._logs / f"{name.replace(':', '-')}.log")
        self._emitter.emit(ProcessStarted(name, pid))

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
            self._wait()
            now_us = self._since_go_us()
            self._plan.keep(now_us)
            reason = ending(self._view, now_us, self._prepared.bounds, self._plan.is_settled(now_us))
            if self._endings.reason or reason is not None:
                return self._endings.reason or str(reason)

    def _stop(self, reason: str) -> None:
        """Robots first, so that nothing is sent any more; then RQ workers; then the relays, which drain."""
        self._desk.order("stop", reason.encode())
        self._emitter.emit(RunStopped(reason))
        deadline = time.monotonic() + LEAVE_S
        while self._view.living and time.monotonic() < deadline:
            self._wait()
        self._end_workers()
        self._attend(0)
        self._plan.end()
        self._tell_disorderly(self._relays.drain())
        self._read_events()

    def _leave(self) -> None:
        """End what still lives, our server last, because the others need it; leave no trace on another's server."""
        self._end_workers()
        self._tell_disorderly(self._fleet.end(self._fleet.living.keys() - {SERVER}, END_S))
        if not self._server.is_our_own:
            self._client.close()  # whatever was interrupted on it
            with suppress(Unavailable):
                insist_blocking("leaving", self._withdraw)
                self._desk.forget()
        self._fleet.end_all(END_S)
        self._client.close()

    def _withdraw(self) -> None:
        for robot in self._robots:
            withdraw_robot(self._client, self._run, robot)
        withdraw_workers(self._client, map(self._rq_name, self._workers))

    def _end_workers(self) -> None:
        self._tell_disorderly(self._fleet.end([f"rq:{worker}" for worker in self._workers], END_S))

    def _wait(self) -> None:
        """A moment; then deaths, events, requests and what the plan has for now are dealt with."""
        self._attend(self._pause_s())
        self._endings.drain()
        self._read_events()
        if self._view.stopped is None:
            self._plan.keep(self._since_go_us())
        self._look(self._view, self._elapsed_us() / 1e6)

    def _pause_s(self) -> float:
        """Until the next look: shorter when the plan changes before it would be due."""
        now_us = self._since_go_us()
        due_us = self._plan.next_change_us(now_us)
        return LOOK_S if due_us is None else min(LOOK_S, max(0, due_us - now_us) / 1e6)

    def _since_go_us(self) -> int:
        """Negative before the order go."""
        return -1 if self._go_us is None else self._elapsed_us() - self._go_us

    def _attend(self, timeout_s: float) -> None:
        """Wait at most so long for deaths, and do what they demand. Raises Unable when our server died."""
        due_s = self._relays.due_s
        if due_s is not None:
            timeout_s = min(timeout_s, max(0.0, due_s - time.monotonic()))
        deaths = self._fleet.poll(timeout_s, self._endings.ear)
        self._tell(deaths)
        for death in deaths:
            if death.name == SERVER:
                raise Unable(f"the run's own server died (status {death.status}); nothing can be proven of this run")
            self._relays.replace(death)
        self._relays.attend(time.monotonic())

    def _tell_disorderly(self, deaths: Iterable[Death]) -> None:
        """Of children that were told to end, those are news that did not end in order."""
        self._tell([death for death in deaths if death.status != 0])

    def _tell(self, deaths: list[Death]) -> None:
        if any(death.name.startswith("rq:") for death in deaths):
            self._see_who_runs_whom()
        for death in deaths:
            kind, _, name = death.name.partition(":")
            robot = self._ran.get(self._rq_name(name)) if kind == "rq" else None
            victim = f"rq:{robot}" if robot else death.name  # from now on it matters whom it ran
            self._emitter.emit(ProcessDied(victim, death.pid, death.status))

    def _see_who_runs_whom(self) -> None:
        """Remembered, because RQ cannot be asked while the server is away."""
        with suppress(Unavailable):
            self._ran = robots_of(self._client, [self._rq_name(worker) for worker in self._workers])

    def _read_events(self) -> None:
        is_any_born = False
        for stamped in self._feed.read():
            self._take(stamped)
            is_any_born |= isinstance(stamped.event, RobotBorn)
        if is_any_born:
            self._see_who_runs_whom()

    def _take(self, stamped: Stamped) -> None:
        self._view = fold(self._view, stamped)
        self._sink(stamped)

    def _elapsed_us(self) -> int:
        return round((time.monotonic() - STARTED_S) * 1_000_000)


def _rq_worker(url: str, name: str) -> int:
    with connect(url) as connection:
        return work(connection, name)


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
