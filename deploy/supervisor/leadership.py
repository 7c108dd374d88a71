"""What a supervisor does while it holds the run's lease: it publishes the plan, has process faults injected, manages
the robots, and checks that every shard has a relay.

A leadership begins with what earlier ones have left on the server: the plan changes, the requests that were answered,
up to when process faults were handed out, and which processes are paused. Which supervisor leads, and when the run
ends, is decided elsewhere (deploy/supervisor/supervisor.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from broker.faults.process_faults import Resume
from broker.faults.schedule import Due
from broker.faults.scheduler import scheduler_so_far
from broker.streams.connection import DataClient
from broker.streams.run.control import StreamRunControl
from broker.streams.run.fleet_log import StreamFleetLog
from broker.streams.run.plan_log import answered_requests, changes_so_far
from broker.streams.run.probes import relay_of
from deploy.attach.context import RunContext
from deploy.supervisor.injector import LiveInjector
from deploy.supervisor.membership import Membership
from robots.exhibits.catalogue import components_of
from robots.run.leader import PlanPublisher
from telemetry.events import AnyEvent, RelayMissing, SupervisorStalled

POLL_S: Final = 1.0
STALLED_US: Final = 250_000  # without a step of the leader, who means to take one every 30 ms
MISSING_S: Final = 3.0  # in which no relay holds the shard's lease; a successor takes it within one second


class RelayMonitor:
    """Reports, once, a shard that has no relay. It starts none: a person who sees the report can."""

    def __init__(self, client: DataClient, run: str, shards: int, emit: Callable[[AnyEvent], None]) -> None:
        self._client = client
        self._run = run
        self._shards = shards
        self._emit = emit
        self._held_s: dict[int, float] = {}  # when each shard's lease was last seen held
        self._reported: set[int] = set()
        self._polled_s = float("-inf")

    def poll(self, now_s: float) -> None:
        """Read the leases if that is due. `now_s` is a monotonic clock's. Raises Unavailable."""
        if now_s - self._polled_s < POLL_S:
            return
        if now_s - self._polled_s > MISSING_S:
            self._held_s.clear()  # nothing is known of the time between
        self._polled_s = now_s
        for shard in range(self._shards):
            if relay_of(self._client, self._run, shard) is not None:
                self._held_s[shard] = now_s
                self._reported.discard(shard)
            elif now_s - self._held_s.setdefault(shard, now_s) >= MISSING_S and shard not in self._reported:
                self._reported.add(shard)
                self._emit(RelayMissing(shard))


class Leadership:
    """One supervisor's time as the leader. Times are microseconds since `go`, negative before it.

    `go_ms` is when the order `go` was given, by the server's clock (None: not yet). All process faults that were due by
    `done_us` were handed out before. `note` stores that time for a successor, and returns whether the lease is still
    ours. Raises Unavailable when the server does not answer all that is read at the beginning.
    """

    def __init__(
        self,
        context: RunContext,
        injector: LiveInjector,
        go_ms: int | None,
        done_us: int,
        note: Callable[[int], bool],
    ) -> None:
        server, info, job_table, events = context
        client = server.data
        self._log = log = StreamFleetLog(client, info.run, retry_s=0)
        rows = log.rows()
        answered = answered_requests(changes_so_far(client, info.run), rows)
        self._run_control = run_control = StreamRunControl(client, info.run)
        components = components_of(info.terms.exhibit)
        scheduler = scheduler_so_far(info.plan, info.bounds.for_us, answered, go_ms, components.plan_scheduler)
        played = [] if go_ms is None else scheduler.due_faults(done_us)  # by earlier leaders
        # By their ids, each: anybody may write an answer, and one to no request must not stop later ones.
        request_ids = (answer.request_id for answer in answered)
        facts = lambda: info.facts(len(job_table.robots))  # noqa: E731  robots may join
        self._plan = PlanPublisher(scheduler, run_control, log, request_ids, facts)
        self._job_table = job_table
        self._injector = injector
        self._chaos = components.chaos(info.terms.seed, len(info.robots), log, injector, events.emit)
        self._chaos.inherit(played, rows)
        self._robots = Membership(context, run_control, log)
        self._relays = RelayMonitor(client, info.run, info.terms.shards, events.emit)
        self._handled_s = float("-inf")  # which poll of the jobs
        self._is_to_be_repeated = go_ms is not None
        self._note = note
        self._emit = events.emit
        self._stepped_us = -1
        self._held: list[Due] = []  # process faults that are due, and wait for the server or for an answer
        self.done_us = done_us
        """All process faults that were due by then were handed out."""

    def begin(self) -> None:
        """Publish what is dated 0, for certain: it is in force before the first envelope. Raises Unavailable."""
        self._plan.begin()

    def run_plan(self, now_us: int, is_server_there: bool) -> None:
        """Publish the message faults and inject the process faults that are due or requested now. While the server is
        away, or an answer to a request is not stored, they wait, except the ends of pauses."""
        self._report_stall(now_us)
        if self._is_to_be_repeated:
            self._plan.repeat(now_us)
            self._is_to_be_repeated = False
        was_answered = self._plan.is_answered
        self._plan.publish(now_us, is_server_there)
        self._held += self._plan.due_faults(now_us)
        # Noted before they are injected: the victim may be this process, and nothing is to be done twice.
        # In the step after the answer: a successor counts a request's times from the answer, which is later than now.
        may_inject = is_server_there and was_answered and self._plan.is_answered
        is_free = may_inject and (not self._held or self._note(now_us))
        if is_free:
            self.done_us = max(self.done_us, now_us)
        due, self._held = (self._held, []) if is_free else _urgent(self._held)
        if due or (is_free and not self._chaos.is_idle):
            self._chaos.play(due, self._injector.living)

    def _report_stall(self, now_us: int) -> None:
        """Report a pause between two steps in which a short fault may have come and gone. The time before a takeover is
        none of ours."""
        is_first, since_us = self._stepped_us < 0 and self.done_us >= 0, max(0, self._stepped_us)
        self._stepped_us = now_us
        if not is_first and now_us - since_us > STALLED_US:
            self._emit(SupervisorStalled(now_us - since_us))

    def manage_robots(self, is_open: bool) -> None:
        """Handle robots' jobs as the last poll saw them, once. New robots join only if the run `is_open`. Raises
        Unavailable, RunGone."""
        if is_open:
            self._relays.poll(time.monotonic())
        if self._is_new_poll():
            self._robots.handle(self._handled_s, is_open)

    def find_lost(self) -> None:
        """Record the deaths of lost robots, and nothing else: for the end of a run. Raises Unavailable."""
        if self._is_new_poll():
            self._robots.find_lost(self._handled_s)

    def has_server_forgotten(self) -> bool:
        """Whether the server came back without a plan change, or a row of the fleet log, that this leader had stored.
        Raises Unavailable."""
        return self._log.has_server_forgotten() or self._run_control.has_server_forgotten()

    def next_due_us(self, now_us: int) -> int | None:
        """When the plan next has something to do, if that is known."""
        return self._plan.next_due_us(now_us)

    def is_settled(self, now_us: int) -> bool:
        """Whether nothing is to happen any more, and every robot lives that will."""
        is_done = self._plan.is_settled(now_us) and not self._held and self._chaos.is_settled
        return is_done and self._robots.is_whole

    def _is_new_poll(self) -> bool:
        """Whether the jobs were polled since they were last handled; from now on they count as handled."""
        is_new = self._job_table.polled_s > self._handled_s
        self._handled_s = self._job_table.polled_s
        return is_new


def _urgent(held: Iterable[Due]) -> tuple[list[Due], list[Due]]:
    """Of process faults that wait for the server: first those that cannot wait, the ends of pauses that have begun (the
    server itself may be paused); then the rest. A pause that has not begun, and would be over, is dropped."""
    ends = {(due.instance, due.occurrence) for due in held if due.is_end}
    begins = {(due.instance, due.occurrence) for due in held if not due.is_end}
    urgent, rest = [], []
    for due in held:
        place = (due.instance, due.occurrence)
        if isinstance(due.fault, Resume) or (due.is_end and place not in begins):
            urgent.append(due)
        elif not due.is_end and place not in ends:
            rest.append(due)
    return urgent, rest
