"""What a supervisor does while it holds the run's lease: the plan is kept, deeds are done, robots are looked after.

All of it begins with what earlier tenures have left on the server: which changes of the plan were made and which
requests answered, how far deeds were handed out, and who is paused. Who supervises, and when the run ends, is decided
elsewhere (deploy/supervisor/supervisor.py).

Whether anybody relays each shard of a run: told once when nobody does. Nothing is done about it here: whoever looks
on can start a relay.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

import redis

from broker.faults.process_faults import Resume
from broker.faults.schedule import Due
from broker.faults.scheduler import scheduler_so_far
from broker.streams.keys import Keys
from broker.streams.retry import retry_blocking
from broker.streams.run.control import StreamRunControl
from broker.streams.run.fleet_log import StreamFleetLog
from broker.streams.run.plan_log import changes_so_far
from deploy.attach.context import RunContext
from deploy.supervisor.injector import LiveInjector
from deploy.supervisor.membership import Membership
from robots.run.chaos import Chaos
from robots.run.leader import PlanPublisher
from telemetry.events import AnyEvent, RelayMissing

LOOK_S: Final = 1.0
MISSING_S: Final = 3.0  # without anybody who holds the shard's lease; a successor takes it within one second


class RelayMonitor:
    """For one run. To be asked now and then, with a monotonic clock's seconds."""

    def __init__(self, client: redis.Redis, run: str, shards: int, emit: Callable[[AnyEvent], None]) -> None:
        self._client = client
        self._leases = [Keys(run).lease(shard) for shard in range(shards)]
        self._emit = emit
        self._seen_s: dict[int, float] = {}
        self._told: dict[int, None] = {}
        self._looked_s = float("-inf")

    def look(self, now_s: float) -> None:
        """Raises Unavailable."""
        if now_s - self._looked_s < LOOK_S:
            return
        if now_s - self._looked_s > MISSING_S:
            self._seen_s.clear()  # nobody looked
        self._looked_s = now_s
        for shard, lease in enumerate(self._leases):
            if retry_blocking("relay", lambda lease=lease: self._client.exists(lease), retry_s=0):  # type: ignore[misc]
                self._seen_s[shard] = now_s
                self._told.pop(shard, None)
            elif now_s - self._seen_s.setdefault(shard, now_s) >= MISSING_S and shard not in self._told:
                self._told[shard] = None
                self._emit(RelayMissing(shard))


class Leadership:
    """One tenure. Times are microseconds since `go`, negative before it; `go_ms` is when that was, by the server's
    clock (None: not yet). All deeds that were due by `done_us` were handed out before; what the next tenure is to know
    of that is told to `note`, which says whether the lease is still ours. Raises Unavailable when the server did not
    tell all that it has to begin with."""

    def __init__(
        self,
        context: RunContext,
        injector: LiveInjector,
        go_ms: int | None,
        done_us: int,
        note: Callable[[int], bool],
    ) -> None:
        client, info, job_table, events = context
        applied = changes_so_far(client, info.run)
        requests = [change.change.request_id for change in applied if change.change.request_id]
        run_control = StreamRunControl(client, info.run, last_request=requests[-1] if requests else "0")
        log = StreamFleetLog(client, info.run, retry_s=0)
        scheduler = scheduler_so_far(info.plan, info.bounds.for_us, applied, go_ms)
        played = [] if go_ms is None else scheduler.due_faults(done_us)  # by whoever was there before
        self._plan = PlanPublisher(scheduler, run_control)
        self._job_table = job_table
        self._injector = injector
        self._chaos = Chaos(info.terms.seed, len(info.robots), log, injector, events.emit)
        self._chaos.inherit(played, log.rows() if played else ())
        self._robots = Membership(context, run_control, log)
        self._relays = RelayMonitor(client, info.run, info.terms.shards, events.emit)
        self._attended_s = float("-inf")
        self._is_to_be_repeated = go_ms is not None
        self._note = note
        self._held: list[Due] = []  # deeds that are due, and wait for the server
        self.done_us = done_us
        """All deeds that were due by then were handed out."""

    def begin(self) -> None:
        """Put out what is dated 0, for certain: it is in force before the first envelope. Raises Unavailable."""
        self._plan.begin()

    def keep_plan(self, now_us: int, is_server_there: bool) -> None:
        """Faults of the network and of processes that are due now, or asked for; while the server is away, they are
        only noted, but for the ends of pauses."""
        if self._is_to_be_repeated:
            self._plan.repeat(now_us)
            self._is_to_be_repeated = False
        self._plan.publish(now_us, is_server_there)
        self._held += self._plan.due_faults(now_us)
        # Noted before they are done: the victim may be ourselves, and nothing must be done twice.
        is_free = is_server_there and (not self._held or self._note(now_us))
        if is_free:
            self.done_us = max(self.done_us, now_us)
        due, self._held = (self._held, []) if is_free else _urgent(self._held)
        if due or (is_free and not self._chaos.is_idle):
            self._chaos.play(due, self._injector.living)

    def keep_robots(self, is_open: bool) -> None:
        """What is to be done about robots' jobs, after each look at them. Raises Unavailable, RunGone."""
        if is_open:
            self._relays.look(time.monotonic())
        if self._is_news():
            self._robots.attend(self._attended_s, is_open)

    def find_lost(self) -> None:
        """Only that of it which is to be done at the end: whoever is dead is told. Raises Unavailable."""
        if self._is_news():
            self._robots.find_lost(self._attended_s)

    def next_due_us(self, now_us: int) -> int | None:
        """When the plan next has something to do, if that is known."""
        return self._plan.next_due_us(now_us)

    def is_settled(self, now_us: int) -> bool:
        """Whether nothing is to happen any more, and every robot lives that will."""
        is_done = self._plan.is_settled(now_us) and not self._held and self._chaos.is_settled
        return is_done and self._robots.is_whole

    def _is_news(self) -> bool:
        """Whether the jobs were looked at since they were last attended to, which they are now."""
        is_news = self._job_table.looked_s > self._attended_s
        self._attended_s = self._job_table.looked_s
        return is_news


def _urgent(held: Iterable[Due]) -> tuple[list[Due], list[Due]]:
    """Of deeds that have to wait, what cannot: the ends of pauses that have begun, for it may be the server that is
    paused. And the rest; of a pause that has not begun, and would be over, nothing is left."""
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
