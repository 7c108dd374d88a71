"""A supervisor of a live run, from the deal to the order to stop: it waits for births, gives the order `go`, runs the
plan and manages the robots while it holds the run's lease, and decides when the run ends.

Several may supervise one run on any hosts: one leads under the lease, the others stand by and observe the same. A
supervisor takes no part in the gossip: robots get orders from it, and nothing else. Its processes and the record are
handled elsewhere.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from broker.envelope import shard_of
from broker.errors import RunGone, Unavailable
from broker.ports.robot import Order
from broker.relay.core import parse_id
from broker.streams.outage import AWAY_LIMIT_S
from broker.streams.run.control import StreamRunControl
from broker.streams.run.fleet_log import StreamFleetLog
from broker.streams.run.probes import now_us, ping
from broker.streams.run.runs import joined_in
from broker.streams.run.supervisor_lease import GAP_US, NO_NEEDS, RENEW_S, Held, Needs, SupervisorLease
from deploy import STARTED_S
from deploy.attach.context import RunContext
from deploy.attach.holders import new_token
from deploy.processes.signals import ShutdownSignals
from deploy.rq.leases import LEASE_S
from deploy.supervisor.hold import Hold, no_person
from deploy.supervisor.injector import LiveInjector
from deploy.supervisor.leadership import Leadership
from robots.run.stop_rule import LOST, reason_in, stop_reason
from telemetry.anomalies.detector import AnomalyDetector
from telemetry.anomalies.watch import AnomalyWatch
from telemetry.events import RunHeldBack, RunStarted, RunStopped, ServerForgot, SupervisorBegan
from telemetry.view import View

POLL_S: Final = 0.03  # between two polls of the events
START_S: Final = 3.0  # for robots to be born before `go`; one that is born later starts at once
LEAVE_S: Final = LEASE_S + 1.5  # for robots to end their lives in order, or to be found dead
BIRTH_LIMIT_S: Final = 30.0  # for the first robot of a parent's own RQ workers to be born
STOP_S: Final = 20.0  # for a server that is away to come back and store the order to stop
ORDERS_S: Final = 0.1  # between two polls of the orders
COMPARE_S: Final = 1.0  # between two checks whether the server still holds what was read from it

Observe = Callable[[View, float], None]
"""Gets the view after each poll, and for how many seconds the server has not answered."""


class NoRobotBorn(Exception):
    """No robot was born; the message is one line."""


class LocalProcesses(Protocol):
    """The processes on this host that do the work; a parent's are its children."""

    @property
    def is_whole(self) -> bool:
        """Whether no dead process is still to be replaced."""
        ...

    def poll(self, timeout_s: float, read_end: int) -> None:
        """Wait at most so long, or until `read_end` can be read; handle deaths."""
        ...


class RunSupervisor:
    """One supervisor of a run. `dealt_s` is when this process dealt the run (`time.monotonic`); None: another process
    did, and RQ workers may come at any time. `asked`: whether a person asked this process to let a run begin that is
    held back."""

    def __init__(
        self,
        context: RunContext,
        processes: LocalProcesses,
        injector: LiveInjector,
        shutdown: ShutdownSignals,
        observe: Observe,
        dealt_s: float | None = None,
        asked: Callable[[], bool] = no_person,
    ) -> None:
        self._context = context
        server, self._info, self._job_table, self._events = context
        self._client = server.data
        self._processes = processes
        self._injector = injector
        self._shutdown = shutdown
        self._observe = observe
        self._run_control = StreamRunControl(
            self._client, context.run, retry_s=0
        )  # what fails now is tried again in the next step
        self._hold = Hold(self._info.is_held, self._run_control, asked)
        self._lease = SupervisorLease(self._client, context.run, new_token(os.getpid()))
        self._since_s = dealt_s
        self._is_dealer = dealt_s is not None
        self._leadership: Leadership | None = None
        shards = self._info.terms.shards
        detector = AnomalyDetector(
            self._info.terms.tick_us, lambda robot: shard_of(robot, shards), self._info.thresholds
        )
        self._anomalies = AnomalyWatch(detector, self._events.clock, self._events.emit)
        self._events.subscribe(self._anomalies.observe)
        self._log = StreamFleetLog(self._client, context.run, retry_s=0)
        self._gap_us = 0  # in the leadership, that is over and not recorded yet
        self._renew_s = self._orders_s = self._compared_s = float("-inf")
        self._is_beginning = False  # we have given the order `go`, or tried to
        self._go_ms: int | None = None
        self._server_is_ahead_us = 0  # of our monotonic clock
        self._ordered: str | None = None  # the reason in the order to stop
        self._is_gone = False  # the server came back without the run
        self._is_server_there = True
        self._answered_s = time.monotonic()
        self.born_s: float | None = None
        """When all dealt robots were born, in seconds since the command's start."""

    def supervise(self) -> str:
        """Until the run is to end; the reason. The order to stop is not given here.

        If this process dealt the run, raises NoRobotBorn when its RQ workers bear no robot, and Unavailable when the
        server was away for AWAY_LIMIT_S.
        """
        while True:
            now_us = self._step()
            reason = self._shutdown.reason or self._ended_elsewhere()
            if reason is None and self._leadership is not None and self._is_server_there:
                reason = self._lead(self._leadership, now_us)
                if reason is not None and self._events.has_server_forgotten():
                    reason = LOST
            if reason is not None:
                return reason

    @property
    def is_leading(self) -> bool:
        """Whether this supervisor held the run's lease when it last looked."""
        return self._leadership is not None

    def stop(self, reason: str) -> None:
        """Give the order, and wait until the robots have left; deaths just before are found and recorded. A run that
        is gone gets no order."""
        self._events.emit(RunStopped(reason))
        self._order_stop(reason)
        deadline = time.monotonic() + LEAVE_S
        while self._events.view.living and not self._is_gone and time.monotonic() < deadline:
            self._step(is_leading=False)
            if self._leadership is not None and self._is_server_there:
                with suppress(Unavailable):
                    self._leadership.find_lost()
        self._events.publish()

    def _order_stop(self, reason: str) -> None:
        """Give the order, unless it was given. A server that is away may come back (our own is started again in a
        step). Raises Unavailable when it has not come back after STOP_S, and a signal asks for an end, or this
        process dealt the run."""
        deadline = time.monotonic() + STOP_S
        while self._ordered is None and not self._is_gone:
            try:
                self._run_control.order("stop", reason.encode())
                return
            except RunGone:
                self._is_gone = True
            except Unavailable:
                if time.monotonic() > deadline and (self._shutdown.reason or self._is_dealer):
                    raise
            self._step(is_leading=False)

    def leave(self) -> None:
        """Let another supervisor take over at once."""
        if self._leadership is not None:
            self._lease.release()

    # One step

    def _step(self, is_leading: bool = True) -> int:
        """Wait a moment, then handle deaths, events, orders and the lease. The time, in microseconds since go."""
        self._processes.poll(self._pause_s(), self._shutdown.read_end)
        self._shutdown.drain()
        now_s = time.monotonic()
        self._ping(now_s)
        if self._is_server_there:
            self._read(now_s)
            self._anomalies.poll(self._leadership is not None)
        now_us = self._since_go_us()
        self._hold_lease()
        if is_leading and not self._is_over and self._leadership is not None:
            self._work(self._leadership, now_us)
            self._hold_lease()  # once more: far from the server, a step may take longer than a renewal can wait
        self._observe(self._events.view, time.monotonic() - self._answered_s)
        return now_us

    def _ping(self, now_s: float) -> None:
        """Whether the server answers, checked once in a step: each command to one that is away may take seconds."""
        away_s = now_s - self._answered_s
        if self._injector.has_paused_server:
            self._is_server_there = False
            return
        try:
            ping(self._client, self._info.run)
        except Unavailable as error:
            self._is_server_there = False
            if self._is_dealer and away_s > AWAY_LIMIT_S:
                raise Unavailable(f"for {AWAY_LIMIT_S:g} s: {error}") from error
        else:
            self._is_server_there = True
            self._answered_s = now_s

    def _read(self, now_s: float) -> None:
        """Read events, jobs and orders, and publish own events."""
        self._events.read()
        if now_s - self._compared_s >= COMPARE_S:
            self._compared_s = now_s
            self._compare()
        self._events.publish()
        if self._job_table.is_due(now_s):
            self._job_table.poll(now_s)
        self._read_orders(now_s)

    def _compare(self) -> None:
        """Find whether the server came back older, and report that once."""
        if self._events.has_server_forgotten():
            return
        with suppress(Unavailable):  # in a later step
            leadership = self._leadership
            has_forgotten = self._run_control.has_server_forgotten() or self._log.has_server_forgotten()
            if has_forgotten or (leadership is not None and leadership.has_server_forgotten()):
                self._events.emit(ServerForgot("orders"))

    def _work(self, leadership: Leadership, now_us: int) -> None:
        """What the leader does in every step; while the server is away, only what must not wait."""
        try:
            leadership.run_plan(now_us, self._is_server_there)
            if self._is_server_there and not self._injector.has_paused_server:
                leadership.manage_robots(is_open=self._go_ms is not None)
        except Unavailable:
            pass
        except RunGone:
            self._is_gone = True

    def _lead(self, leadership: Leadership, now_us: int) -> str | None:
        """Begin the run when it can begin; the reason why it ends now, if it does."""
        if self._go_ms is None:
            if self._may_begin():
                self._begin(leadership)
            return None
        is_settled = leadership.is_settled(now_us) and self._processes.is_whole
        return stop_reason(self._events.view, now_us, self._info.bounds, is_settled)

    # Before go

    def _may_begin(self) -> bool:
        """Enough robots are born, and no person holds the run back. What is held back is told, by one leader."""
        is_ready, view = self._is_ready(), self._events.view
        if is_ready and self._hold.is_held and not view.is_held_back:
            self._events.emit(RunHeldBack(view.born))
        return is_ready and not self._hold.is_held

    def _is_ready(self) -> bool:
        """All dealt robots are born, or some are and it has taken too long. Raises NoRobotBorn."""
        born, now_s = self._events.view.born, time.monotonic()
        if born >= len(self._info.robots):
            self.born_s = now_s - STARTED_S if self.born_s is None else self.born_s
            return True
        if self._since_s is None and born:
            self._since_s = now_s
        waited_s = 0.0 if self._since_s is None else now_s - self._since_s
        if self._is_dealer and not born and waited_s >= BIRTH_LIMIT_S:
            raise NoRobotBorn(f"no robot was born within {BIRTH_LIMIT_S:g} s")
        return born > 0 and waited_s >= START_S

    def _begin(self, leadership: Leadership) -> None:
        """Give the order; when the server is away, the next step tries again. The jobs are polled before, so that it is
        known which RQ worker runs which robot, if the server goes away at once."""
        self._job_table.poll(time.monotonic())
        self._is_beginning = True
        try:
            leadership.begin()
            self._hold_lease()
            self._run_control.order("go")
        except Unavailable:
            return
        except RunGone:
            self._is_gone = True
            return
        self._orders_s = float("-inf")
        self._read_orders(time.monotonic())

    # Lease

    def _hold_lease(self) -> None:
        """Hold the lease, or stand by, if that is due. While the server is away, no supervisor can take it."""
        now_s = time.monotonic()
        if now_s < self._renew_s or self._is_gone or not self._is_server_there:
            return
        self._renew_s = now_s + RENEW_S
        try:
            held = self._renew(None if self._leadership is None else self._leadership.done_us)
            if held is None:
                self._leadership = None
            elif self._leadership is None:
                self._leadership = self._take_over(held.done_us)
                self._renew(held.done_us)  # what was read there took time
            self._record_gap()
        except Unavailable:
            pass
        except RunGone:
            self._is_gone = True

    def _renew(self, done_us: int | None) -> Held | None:
        """Take the lease or renew it, and keep in mind for how long it was not renewed. Raises RunGone, Unavailable."""
        held = self._lease.hold(done_us, self._needs)
        if held is not None and held.away_us > GAP_US:
            self._gap_us = max(self._gap_us, held.away_us)
        return held

    @property
    def _needs(self) -> Needs:
        """What is stored with the lease. A run that is over needs nothing; of one that we do not lead yet we know
        nothing."""
        if self._is_over:
            return NO_NEEDS
        return Needs(lacks=1) if self._leadership is None else self._leadership.needs

    def _record_gap(self) -> None:
        """Record a gap in the leadership that is over. Raises RunGone, Unavailable."""
        if self._gap_us and self._leadership is not None:
            self._log.leadership_gap(self._gap_us)
            self._gap_us = 0

    def _take_over(self, noted_us: int) -> Leadership:
        """Raises Unavailable."""
        leadership = Leadership(self._context, self._injector, self._go_ms, noted_us, self._note_done)
        self._events.emit(SupervisorBegan(noted_us >= 0))
        return leadership

    def _note_done(self, done_us: int) -> bool:
        """Store it for a successor. Whether the lease is still ours; False when that is not known."""
        with suppress(Unavailable, RunGone):
            return self._renew(done_us) is not None
        return False

    # Orders and time

    @property
    def _is_lost(self) -> bool:
        """Whether the server lost data: the run, or a part of it."""
        return self._is_gone or self._events.view.has_server_forgotten

    @property
    def _is_over(self) -> bool:
        return self._is_lost or self._ordered is not None

    def _ended_elsewhere(self) -> str | None:
        if self._ordered is None:
            return LOST if self._is_lost else None
        return self._ordered

    def _read_orders(self, now_s: float) -> None:
        if now_s - self._orders_s < ORDERS_S:
            return
        self._orders_s = now_s
        try:
            self._hold.poll()
            for order in self._run_control.orders():
                self._handle(order)
        except Unavailable:
            pass
        except RunGone:
            self._is_gone = True

    def _handle(self, order: Order) -> None:
        match order.order:
            case "begin":
                self._hold.end()
            case "go" if self._go_ms is None:
                self._hold.end()
                self._go_ms = parse_id(order.entry)[0]
                if self._is_beginning:
                    self._events.emit(RunStarted(self._events.view.born))
            case "joined":
                for robot in joined_in([order]):
                    self._job_table.admit(robot)
            case "stop" if self._ordered is None:
                self._hold.end()
                self._ordered = reason_in(order.content)

    def _since_go_us(self) -> int:
        """Negative before the order go."""
        if self._go_ms is None:
            return -1
        if not self._server_is_ahead_us:
            self._compare_clocks()
        return max(0, time.monotonic_ns() // 1000 + self._server_is_ahead_us - self._go_ms * 1000)

    def _compare_clocks(self) -> None:
        with suppress(Unavailable):  # in the next step
            self._server_is_ahead_us = now_us(self._client, self._info.run) - time.monotonic_ns() // 1000

    def _pause_s(self) -> float:
        """Until the next poll: shorter when the plan changes before."""
        now_us = self._since_go_us()
        due_us = None if self._leadership is None else self._leadership.next_due_us(now_us)
        return POLL_S if due_us is None else min(POLL_S, max(0, due_us - now_us) / 1e6)
