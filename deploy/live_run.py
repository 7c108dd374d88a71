"""A live run from its first process to its last: deal, fork, go, watch, stop, collect. The parent's whole work.

The parent has no event loop and no threads, because it forks. It takes no part in the gossip: it knows of the run what
the stream of events tells, and its only words to robots are the orders. Whatever happens to it, nothing stays behind:
children die with their parent, and the janitor removes the rest.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random
from types import FrameType
from typing import Final

import msgspec

from broker.embedded import EmbeddedServer, NoEmbeddedServer
from broker.faults import AnyFault
from broker.ports import Evidence
from broker.streams.connection import check_server, connect
from broker.streams.desk import StreamDesk
from broker.streams.event_source import StreamEventSource
from broker.streams.keys import Keys
from deploy.environment import Unable
from deploy.fleet import Death, Fleet
from deploy.janitor import Janitor
from deploy.relay_process import relay
from deploy.rq_worker import enqueue_robot, robot_of, work
from robots.deal import Deal
from robots.ending import Bounds, ending
from robots.robot import Terms
from robots.supervision import Restart, RestartPolicy
from telemetry.clock import SystemClock
from telemetry.events import ProcessDied, ProcessStarted, RunDealt, RunStarted, RunStopped, Stamped
from telemetry.handlers.publisher import decode_events
from telemetry.pipeline import Emitter, Next
from telemetry.record import Record
from telemetry.view import View, fold

LOOK_S: Final = 0.03  # how often the parent looks at the events
START_US: Final = 3_000_000  # after the deal; robots that are born later start at once
LEAVE_S: Final = 3.0  # for robots to end their lives in order
END_S: Final = 5.0  # for processes to end, before they are killed
_ENDINGS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BIRTH_LIMIT_US: Final = 30_000_000  # for the first robot to be born


class Outcome(msgspec.Struct, frozen=True):
    """A run that has ended. Times are microseconds since the command's start."""

    evidence: Evidence
    ended: str  # complete, limit, stopped, interrupted
    born_us: int | None
    total_us: int


class Wishes(msgspec.Struct, frozen=True):
    """What is to be run, and how."""

    run: str
    deal: Deal
    terms: Terms
    faults: list[AnyFault]
    bounds: Bounds
    is_guest: bool  # on a server that is not our own, and is left as it was found


Look = Callable[[View, float], None]
"""Shown the view and the seconds since the command's start, whenever the parent looks."""


@contextmanager
def server_for(url: str | None, janitor: Janitor) -> Iterator[tuple[str, int | None]]:
    """The server's URL, and its pid if it is our own. Raises ServerUnfit, Unable."""
    if url is not None:
        with connect(url) as client:
            check_server(client)
        yield url, None
        return
    try:
        server = EmbeddedServer()
    except NoEmbeddedServer as error:
        raise Unable(str(error)) from None
    janitor.watch(server.pid)
    janitor.folder(server.folder)
    try:
        yield server.url, server.pid
    finally:
        server.stop()
        janitor.forget(server.pid)


class LiveRun:
    """The parent, between the fork of its first child and the death of its last."""

    def __init__(self, wishes: Wishes, url: str, janitor: Janitor, record: Record, sink: Next, look: Look) -> None:
        self._wishes = wishes
        self._url = url
        self._record = record
        self._sink = sink
        self._look = look
        self._began = command_started()
        self._client = connect(url)
        self._desk = StreamDesk(self._client, wishes.run)
        self._source = StreamEventSource(self._client, Keys(wishes.run).events)
        self._emitter = Emitter(wishes.run, "lab", 0, SystemClock(), self._take)
        self._view = View()
        self._policy = RestartPolicy()
        self._relay_deaths_us: list[int] = []
        self._interruption: str | None = None
        self._janitor = janitor
        self._logs = record.folder / "logs"

    def run(self) -> Outcome:
        """Everything, in order. Whatever is raised: all children have ended when this returns."""
        wishes = self._wishes
        self._logs.mkdir()
        with announced(self._record.folder, self._url, self._janitor), interruptible(self._interrupt) as wake:
            self._wake = wake
            self._desk.deal(wishes.deal.dealing(wishes.run, wishes.terms, wishes.faults))
            self._emitter.emit(RunDealt(len(wishes.deal.robots), len(wishes.deal.parts)))
            self._fleet = Fleet(self._janitor)
            try:
                return self._with_fleet()
            finally:
                self._fleet.end_all(END_S)
                self._client.close()

    def _with_fleet(self) -> Outcome:
        self._start_fleet()
        born_us = self._await_births()
        reason = self._interruption or self._until_the_end()
        self._stop(reason)
        evidence = self._desk.collect()
        if self._wishes.is_guest:
            self._desk.forget()
        return Outcome(evidence, reason, born_us, self._elapsed_us())

    def _start_fleet(self) -> None:
        robots = self._wishes.deal.robots
        for robot in robots:
            enqueue_robot(self._client, self._wishes.run, robot)
        self._client.close()  # children must not share its connection
        for shard in range(self._wishes.terms.shards):
            self._start_relay(shard)
        for number in range(len(robots)):
            worker = f"w{number:02d}"  # not a robot's name: which robot it will run, the queue decides
            self._start(f"rq:{worker}", partial(_rq_worker, self._url, self._rq_name(worker)))

    def _rq_name(self, worker: str) -> str:
        return f"{self._wishes.run}.{worker}"

    def _start_relay(self, shard: int) -> None:
        terms = self._wishes.terms
        self._start(f"relay:{shard}", partial(relay, self._url, self._wishes.run, shard, terms.seed))

    def _start(self, name: str, body: Callable[[], int]) -> None:
        pid = self._fleet.start(name, body, self._logs / f"{name.replace(':', '-')}.log")
        self._emitter.emit(ProcessStarted(name, pid))

    def _await_births(self) -> int | None:
        """Until all dealt robots are born, or it has taken too long; then `go`."""
        dealt_us = self._elapsed_us()
        while self._view.born < self._view.dealt and self._interruption is None:
            self._wait()
            waited_us = self._elapsed_us() - dealt_us
            if waited_us >= START_US and self._view.born:
                break
            if waited_us >= BIRTH_LIMIT_US:
                raise Unable(f"no robot was born within {BIRTH_LIMIT_US // 1_000_000} s; see {self._logs}")
        born_us = self._elapsed_us() if self._view.born == self._view.dealt else None
        self._desk.order("go")
        self._emitter.emit(RunStarted(self._view.born))
        return born_us

    def _until_the_end(self) -> str:
        """Watch until the run ends; why it did."""
        go_us = self._elapsed_us()
        while True:
            self._wait()
            reason = self._interruption or ending(self._view, self._elapsed_us() - go_us, self._wishes.bounds)
            if reason is not None:
                return reason

    def _stop(self, reason: str) -> None:
        """Robots first, so that nothing is sent any more; then RQ workers; then the relays, which drain."""
        self._desk.order("stop", reason.encode())
        self._emitter.emit(RunStopped(reason))
        deadline = time.monotonic() + LEAVE_S
        while self._view.living and time.monotonic() < deadline:
            self._wait()
        living = self._fleet.living
        self._fleet.end([name for name in living if name.startswith("rq:")], END_S)
        self._fleet.end([name for name in living if name.startswith("relay:")], END_S)
        self._read_events()

    def _wait(self) -> None:
        """A moment; then deaths and events are dealt with."""
        for death in self._fleet.poll(LOOK_S, self._wake):
            self._mourn(death)
        with suppress(BlockingIOError):
            os.read(self._wake, 64)
        self._read_events()
        self._look(self._view, self._elapsed_us() / 1e6)

    def _mourn(self, death: Death) -> None:
        kind, _, name = death.name.partition(":")
        victim = death.name
        if kind == "rq" and (robot := robot_of(self._client, self._rq_name(name))):
            victim = f"rq:{robot}"  # from now on it matters whom it ran
        self._emitter.emit(ProcessDied(victim, death.pid, death.status))
        if kind == "relay" and self._view.stopped is None:
            self._restart_relay(int(name))

    def _restart_relay(self, shard: int) -> None:
        """A relay redoes what it left pending; so it may always be started again, as often as the policy bears."""
        now = self._elapsed_us()
        self._relay_deaths_us.append(now)
        decision = self._policy.decide(self._relay_deaths_us, now, Random().random())  # noqa: S311
        if isinstance(decision, Restart):
            time.sleep(decision.delay_us / 1e6)
            self._start_relay(shard)

    def _read_events(self) -> None:
        for frame in self._source.read():
            try:
                events = decode_events(frame)
            except msgspec.DecodeError:
                continue  # anybody may write to a stream; what is missing shows as a gap in the numbers
            for stamped in events:
                self._take(stamped)

    def _take(self, stamped: Stamped) -> None:
        self._view = fold(self._view, stamped)
        self._sink(stamped)

    def _interrupt(self, number: int) -> None:
        if self._interruption is not None and number == signal.SIGINT:
            raise KeyboardInterrupt  # the second time: no patience with anybody
        self._interruption = "interrupted" if number == signal.SIGINT else "stopped"

    def _elapsed_us(self) -> int:
        return round((time.monotonic() - self._began) * 1_000_000)


def _rq_worker(url: str, name: str) -> int:
    with connect(url) as connection:
        return work(connection, name)


@contextmanager
def announced(folder: Path, url: str, janitor: Janitor) -> Iterator[None]:
    """Within, `live.json` tells other commands of this user where the run's server is. The URL may hold a password."""
    path = folder / "live.json"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump({"url": url, "pid": os.getpid()}, file)
    janitor.file(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def command_started() -> float:
    """When this process was started by its user, on the clock of `time.monotonic`."""
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    started_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # since boot, as CLOCK_BOOTTIME counts
    return time.monotonic() - (time.clock_gettime(time.CLOCK_BOOTTIME) - started_s)


@contextmanager
def interruptible(interrupt: Callable[[int], None]) -> Iterator[int]:
    """Within, SIGINT, SIGTERM and SIGHUP call `interrupt`, and end a wait for the descriptor that this gives. One that
    is ignored stays so (`nohup`)."""
    ear, mouth = socket.socketpair()
    ear.setblocking(False)
    mouth.setblocking(False)

    def handle(number: int, _frame: FrameType | None) -> None:
        interrupt(number)

    wakeup = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
    heard = [number for number in _ENDINGS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in heard}
    try:
        yield ear.fileno()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        ear.close()
        mouth.close()
