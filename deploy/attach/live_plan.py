"""The plan of a live run, as a person at another terminal sees and changes it.

A request changes nothing by itself: the run's leader answers it. A change of message faults is in force at a shard when
its relay has applied the plan change that bears the request's id. A request that concerns process faults alone is
acknowledged in the fleet log, and needs no relay.

What is still to come is computed here, by a scheduler with the same plan and the same requests. The run does not
notice.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice, takewhile
from typing import Final

import msgspec

from broker.control_entries import AppliedChange, PlanChange, Planned
from broker.errors import RunGone, Unavailable
from broker.faults.registry import Heal
from broker.faults.schedule import Timed
from broker.faults.scheduler import BEFORE_GO_US, AnsweredRequest, PlanScheduler, scheduler_so_far
from broker.ports.robot import Acknowledgement
from broker.streams.connection import DataClient, check_server, connect
from broker.streams.run.evidence import StreamEvidenceReader
from broker.streams.run.fleet_log import FleetLogWatcher, StreamFleetLog
from broker.streams.run.plan_log import DEALT_MS, PlanWatcher, StreamRequests, answered_requests
from broker.streams.run.probes import now_us
from broker.streams.run.runs import RunStatus, read_run_status
from deploy.attach.context import read_metadata
from deploy.attach.discovery import HELD_BACK, RunLocation, state_of
from deploy.config.repeat import plan_at_start
from deploy.errors import EnvironmentFailure, NoMetadata, UsageError
from telemetry.console import printable
from telemetry.record.folder import NoSuchRun
from telemetry.record.reader import RecordReader, Unreadable
from telemetry.record.settings import RunSettings

WAIT_S: Final = 2.0  # for the answer to a request at every relay, or in the fleet log
_POLL_US: Final = 10_000  # the longest wait for one relay, before the fleet log is read again
_PAUSE_S: Final = 0.02  # between two reads from a server that is away
CALM: Final = PlanChange(())


class RequestOutcome(msgspec.Struct, frozen=True):
    """A request that was done: its id, the plans before and since at the first relay, how many relays applied the
    change (0: it concerned process faults alone), and how long that took from the moment of the request."""

    request: str
    old: PlanChange
    new: PlanChange
    relays: int
    elapsed_us: int


class LivePlan:
    """A live run's plan, as its relays had applied it when this was made, or when a request was answered."""

    def __init__(self, client: DataClient, where: RunLocation) -> None:
        """Raises NoSuchRun, Unavailable."""
        run = where.run
        run_status = read_run_status(client, run, WAIT_S)
        if run_status is None:
            raise NoSuchRun(f"run {run} is not dealt on its server, or not yet; try again in a moment")
        self.run = run
        self.settings = _settings(client, where)
        """What the run's settings say of its plan; None when they cannot be read from here."""
        self.run_status: RunStatus = run_status
        self._client = client
        self._watchers = [PlanWatcher(client, run, shard) for shard in range(run_status.shards)]
        self.history: list[list[AppliedChange]] = [watcher.read() for watcher in self._watchers]
        self._now_ms = now_us(client, run) // 1000

    @property
    def in_force(self) -> list[PlanChange]:
        """The plan at each relay; CALM for a relay that has not begun."""
        return [applied[-1].change if applied else CALM for applied in self.history]

    @property
    def now_us(self) -> int | None:
        """How long ago the order `go` was given; None when it was not yet."""
        return self.after_go_us(max([self._now_ms, *(applied[-1].at_ms for applied in self.history if applied)]))

    def after_go_us(self, at_ms: int) -> int | None:
        """The server's time `at_ms`, counted from go; negative before it, None when it is still to come."""
        return None if self.run_status.go_ms is None else (at_ms - self.run_status.go_ms) * 1000

    def watch_fleet(self) -> FleetLogWatcher:
        """The rows that come to the run's fleet log from now on. Raises Unavailable."""
        return FleetLogWatcher(self._client, self.run)

    def request(self, text: str) -> RequestOutcome:
        """Request a change, and wait until it is in force at every relay, or acknowledged in the fleet log. Raises
        UsageError when it was refused, NoSuchRun when the run is over, Unavailable, and EnvironmentFailure when there
        was no answer within WAIT_S."""
        self._check_going_on(self.run_status)
        began, old = time.monotonic(), self.in_force
        fleet_log = FleetLogWatcher(self._client, self.run)
        try:
            request_id = StreamRequests(self._client, self.run, WAIT_S).add(text)
        except RunGone:
            raise self._over("removed from its server") from None
        found = self._await(request_id, fleet_log, began + WAIT_S)
        elapsed_us = round((time.monotonic() - began) * 1_000_000)
        if isinstance(found, Acknowledgement):
            self._require_done(found.refusal)
            return RequestOutcome(request_id, old[0], self.in_force[0], 0, elapsed_us)
        for _, change in found.values():
            self._require_done(change.refusal)
        if len(found) < self.run_status.shards:
            raise self._unanswered([shard for shard in range(self.run_status.shards) if shard not in found])
        return RequestOutcome(request_id, *found[0], len(found), elapsed_us)

    def answered(self) -> list[AnsweredRequest]:
        """The requests that the run's leaders have answered so far. Raises Unavailable."""
        applied: list[AppliedChange] = max(self.history, key=len, default=[])
        return answered_requests(applied, StreamFleetLog(self._client, self.run).rows())

    def _require_done(self, refusal: str) -> None:
        if refusal:
            raise UsageError(f"run {self.run} refused it: {printable(refusal)}")

    def require_going_on(self) -> None:
        """Read again whether the run goes on. Raises NoSuchRun when it is over, Unavailable."""
        self._check_going_on(read_run_status(self._client, self.run, retry_s=0))

    def _check_going_on(self, run_status: RunStatus | None) -> None:
        if run_status is None:
            raise self._over("removed from its server")
        if run_status.stop is not None:
            raise self._over(run_status.stop)

    def _over(self, reason: str) -> NoSuchRun:
        return NoSuchRun(f"run {self.run} is over ({printable(reason)}); judge it with: robots verify {self.run}")

    def _await(
        self, request_id: str, fleet_log: FleetLogWatcher, deadline: float
    ) -> Acknowledgement | dict[int, tuple[PlanChange, PlanChange]]:
        """The acknowledgement of a request; or, by shard, the plans before and since the change that bears its id, for
        those relays that applied it in time."""
        found: dict[int, tuple[PlanChange, PlanChange]] = {}
        while len(found) < self.run_status.shards:
            left_us = max(0, round((deadline - time.monotonic()) * 1_000_000))
            for shard in [shard for shard in range(self.run_status.shards) if shard not in found]:
                change = self._find_change(shard, request_id, min(left_us, _POLL_US))
                if change is not None:
                    found[shard] = change
            with suppress(Unavailable):
                for row in fleet_log.read():
                    if isinstance(row, Acknowledgement) and row.request_id == request_id:
                        return row
            if not left_us:
                break
        return found

    def _find_change(self, shard: int, request_id: str, wait_us: int) -> tuple[PlanChange, PlanChange] | None:
        """The plans before and since the change that bears `request_id`, if the shard's relay has just applied it."""
        old = self.in_force[shard]
        try:
            applied = self._watchers[shard].read(wait_us)
        except Unavailable:  # it may come back in time
            time.sleep(min(_PAUSE_S, wait_us / 1_000_000))
            return None
        self.history[shard] += applied
        for change in (each.change for each in applied):
            if change.request_id == request_id:
                return old, change
            old = change
        return None

    def _unanswered(self, silent: list[int]) -> EnvironmentFailure:
        """Why a request is not in force everywhere, as far as that is known. Raises NoSuchRun when the run is over."""
        self.require_going_on()
        shards = self.run_status.shards
        if len(silent) == shards:
            return EnvironmentFailure(
                f"no answer within {WAIT_S:g} s: run {self.run} has no supervisor, or its relay"
                f"{'s are' if shards > 1 else ' is'} away; the request stands, and may still come into force"
            )
        names = ", ".join(map(str, silent))
        return EnvironmentFailure(
            f"in force at {shards - len(silent)} of {shards} relays, but not after {WAIT_S:g} s at relay {names};"
            " it will be when that relay goes on"
        )


@contextmanager
def live_plan(where: RunLocation) -> Iterator[LivePlan]:
    """The plan of the run at `where`, as long as the block lasts. Raises NoSuchRun, UnsupportedServer,
    EnvironmentFailure."""
    with connect(where.address.data) as client:
        check_server(client)
        try:
            yield LivePlan(client, where)
        except Unavailable as error:
            raise EnvironmentFailure(f"the server of run {where.run} went away: {error}") from None


def _settings(client: DataClient, where: RunLocation) -> RunSettings | None:
    """From its record, if that is on this host, else from its metadata. Raises Unavailable."""
    try:
        if where.folder is not None:
            return RecordReader(where.folder).settings()
    except Unreadable:
        return None
    with suppress(NoMetadata):
        return read_metadata(StreamEvidenceReader(client, where.run), where.run)[0]
    return None


MOST_TO_COME: Final = 16  # changes that are listed: a fault that comes again every 10 ms would fill a screen


class Standing(msgspec.Struct, frozen=True):
    """A fault in force. `since_us` counts from go (negative: before it), None means since the deal. `relays` are those
    at which it is in force: not all only while a change is on its way."""

    instance: int
    text: str
    since_us: int | None
    relays: tuple[int, ...]


class Coming(msgspec.Struct, frozen=True):
    """A dated change of the plan, `at_us` after go: the faults that begin then, and those that end."""

    at_us: int
    begin: tuple[Planned, ...]
    end: tuple[Planned, ...]


class Later(msgspec.Struct, frozen=True):
    """A fault that has not begun yet, and how long it is until then; before go, from go on."""

    planned: Planned
    in_us: int


class PlanStatus(msgspec.Struct, frozen=True):
    """The plan of a live run at one moment. `now_us` counts from go (None: before it), which waits for a person while
    it `is_held_back`. `stop` is why the run is ending, if it is. `to_come` holds the next MOST_TO_COME dated changes;
    None when the run's settings cannot be read here, because another host has them."""

    run: str
    now_us: int | None
    shards: int
    stop: str | None
    standing: list[Standing]
    to_come: list[Coming] | None
    is_held_back: bool = False


def plan_status(plan: LivePlan) -> PlanStatus:
    """The status of `plan`."""
    run_status = plan.run_status
    to_come: list[Coming] | None = []
    if run_status.stop is None:
        scheduler = _scheduler(plan)
        to_come = (
            None if scheduler is None else list(islice(_coming(scheduler, _scheduled_us(plan.now_us)), MOST_TO_COME))
        )
    is_held_back = state_of(run_status, plan.settings) == HELD_BACK
    return PlanStatus(plan.run, plan.now_us, run_status.shards, run_status.stop, _standing(plan), to_come, is_held_back)


def remaining(plan: LivePlan) -> list[Timed] | None:
    """What is in force and what is dated to come, healing too; None when the run's settings cannot be read here."""
    scheduler = _scheduler(plan)
    return None if scheduler is None else scheduler.remaining(_scheduled_us(plan.now_us))


def still_to_come(plan: LivePlan) -> list[Later] | None:
    """The faults that have not begun yet, the next one first; None when the run's settings cannot be read here."""
    left = remaining(plan)
    if left is None:
        return None
    now_us = _scheduled_us(plan.now_us)
    later = []
    for dated in left:
        fault, start_us = dated.line.fault, dated.line.when.start_us
        if start_us is not None and start_us > now_us and not isinstance(fault, Heal):
            later.append(Later(Planned(dated.instance, fault.text()), start_us - max(0, now_us)))
    return sorted(later, key=lambda dated: dated.in_us)


def _standing(plan: LivePlan) -> list[Standing]:
    """The faults in force at any relay, by number."""
    since: dict[Planned, list[int]] = {}
    relays: dict[Planned, list[int]] = {}
    for shard, history in enumerate(plan.history):
        for planned in history[-1].change.faults if history else ():
            since.setdefault(planned, []).append(_since_ms(planned, history))
            relays.setdefault(planned, []).append(shard)
    return [
        Standing(planned.instance, planned.text, _after_go_us(plan, min(since[planned])), tuple(relays[planned]))
        for planned in sorted(since, key=lambda planned: planned.instance)
    ]


def _since_ms(planned: Planned, history: Sequence[AppliedChange]) -> int:
    """Since when a fault has been in force without a break, at one relay."""
    return min(
        applied.at_ms for applied in takewhile(lambda applied: planned in applied.change.faults, reversed(history))
    )


def _after_go_us(plan: LivePlan, at_ms: int) -> int | None:
    """When a change was applied; None for what was dealt, negative for what came between the deal and go."""
    if at_ms == DEALT_MS:
        return None
    after_go_us = plan.after_go_us(at_ms)
    return BEFORE_GO_US if after_go_us is None else after_go_us


def _scheduled_us(after_go_us: int | None) -> int:
    """A time as the scheduler counts it: before go it is always the same."""
    return BEFORE_GO_US if after_go_us is None else max(after_go_us, BEFORE_GO_US)


def _scheduler(plan: LivePlan) -> PlanScheduler | None:
    """A scheduler with the same requests as the leader's; None when the settings cannot be read here."""
    settings = plan.settings
    if settings is None:
        return None
    try:
        dated = plan_at_start(settings)
    except ValueError:
        return None
    return scheduler_so_far(dated, settings.for_us, plan.answered(), plan.run_status.go_ms)


def _coming(scheduler: PlanScheduler, now_us: int) -> Iterator[Coming]:
    """The dated changes after `now_us`."""
    faults = scheduler.in_force(now_us)
    at_us = scheduler.next_change_us(now_us)
    while at_us is not None:
        old, faults = faults, scheduler.in_force(at_us)
        begin = tuple(planned for planned in faults if planned not in old)
        end = tuple(planned for planned in old if planned not in faults)
        if begin or end:
            yield Coming(at_us, begin, end)
        at_us = scheduler.next_change_us(at_us)
