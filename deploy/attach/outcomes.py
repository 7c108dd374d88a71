"""A process fault that a person wants at once: it is requested, and the run's fleet log shows what became of it. A
request that was accepted may still fail when its time comes, one step of the leader later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import msgspec

from broker.errors import Unavailable
from broker.faults.grammar import Line
from broker.faults.process_faults import Amnesia, Kill, ProcessFault
from broker.faults.syntax import format_duration
from broker.ports.robot import Death, Failure, FleetRow, Injection
from broker.streams.run.fleet_log import FleetLogWatcher
from deploy.attach.live_plan import LivePlan
from deploy.attach.plan_requests import set_request
from deploy.errors import EnvironmentFailure

WAIT_S: Final = 8.0  # for the injection; and from there for the death that it causes
PROGRESS_S: Final = 1.0  # of waiting, before that is reported
_FAILS_S: Final = 0.2  # the failure of an injection that was recorded comes right after it
_POLL_S: Final = 0.02
_DEADLY: Final = (Kill.name, Amnesia.name)  # the verbs whose victim's death is recorded, unless it is the supervisor


class InjectionOutcome(msgspec.Struct, frozen=True):
    """An injection that was done: its victim, and whether the victim's death was recorded within WAIT_S; None when none
    is expected."""

    victim: str
    died: bool | None


def is_injection(line: Line) -> bool:
    """Whether a line is a process fault that is due at once, and once."""
    return isinstance(line.fault, ProcessFault) and line.when.start_us == 0 and line.when.every_us is None


def asked_text(line: Line) -> str:
    """The process fault of a line, for people: `kill r03`, `pause r03 for 5s`."""
    duration_us = line.when.duration_us
    return line.fault.text() + ("" if duration_us is None else f" for {format_duration(duration_us)}")


def inject(plan: LivePlan, line: Line, report: Callable[[], None]) -> tuple[str, InjectionOutcome | None]:
    """Request a process fault, and wait for its outcome: the request's id, and the outcome. Before go there is none:
    the fault is injected when the run begins. Raises UsageError when the run refuses it, and what `await_outcome`
    raises."""
    log = plan.watch_fleet()
    request_id = plan.request(set_request([line], plan)).request
    if plan.run_status.go_ms is None:
        return request_id, None
    return request_id, await_outcome(plan, log, request_id, report)


def outcome_line(run: str, line: Line, outcome: InjectionOutcome | None) -> str:
    """What became of it, for people."""
    asked = asked_text(line)
    if outcome is None:
        return f"accepted run {run}: {asked}, once the run has begun"
    who = "" if outcome.victim in asked else f", which was {outcome.victim}"
    died = {None: "", True: "; it died", False: f"; no death is recorded after {WAIT_S:g} s"}[outcome.died]
    return f"done run {run}: {asked}{who}{died}"


def await_outcome(
    plan: LivePlan, log: FleetLogWatcher, request_id: str, report: Callable[[], None]
) -> InjectionOutcome:
    """Wait until the injection is in the log, which was watched since before the request, and for the death that
    follows. `report` is called once when that takes a while. Raises EnvironmentFailure when it could not be done, or
    it is not known after WAIT_S whether it was; NoSuchRun when the run was over before; Unavailable."""
    rows = _Rows(log, report)
    injection = rows.find(lambda row: isinstance(row, Injection | Failure) and row.request_id == request_id, WAIT_S)
    if injection is None:
        plan.require_going_on()
        raise EnvironmentFailure(
            f"accepted, and not done after {WAIT_S:g} s: run {plan.run} has no supervisor now; it may still be done"
        )
    _require_done(injection)
    assert isinstance(injection, Injection)
    victim, is_deadly = injection.victim, injection.verb in _DEADLY and injection.victim != "supervisor"
    later = rows.find(
        lambda row: _is_failure(row, request_id) or (is_deadly and isinstance(row, Death) and row.victim == victim),
        WAIT_S if is_deadly else _FAILS_S,
    )
    _require_done(later)
    return InjectionOutcome(victim, isinstance(later, Death) if is_deadly else None)


def _is_failure(row: FleetRow, request_id: str) -> bool:
    return isinstance(row, Failure) and row.request_id == request_id


def _require_done(row: FleetRow | None) -> None:
    """Exit code 4, not 2: what was typed is right, and a moment earlier or later the run could have done it."""
    if isinstance(row, Failure):
        raise EnvironmentFailure(f"not done: {row.why}")


class _Rows:
    """The rows of a fleet log, one after the other, each once."""

    def __init__(self, log: FleetLogWatcher, report: Callable[[], None]) -> None:
        self._log = log
        self._report = report
        self._began_s = time.monotonic()
        self._is_reported = False
        self._read: Iterator[FleetRow] = iter(())

    def find(self, is_meant: Callable[[FleetRow], bool], wait_s: float) -> FleetRow | None:
        """The next row that is meant; None when none comes within `wait_s`. A server that is away may come back."""
        deadline = time.monotonic() + wait_s
        while True:
            for row in self._read:
                if is_meant(row):
                    return row
            if time.monotonic() >= deadline:
                return None
            self._poll()

    def _poll(self) -> None:
        if not self._is_reported and time.monotonic() - self._began_s >= PROGRESS_S:
            self._is_reported = True
            self._report()
        time.sleep(_POLL_S)
        with suppress(Unavailable):
            self._read = iter(self._log.read())
