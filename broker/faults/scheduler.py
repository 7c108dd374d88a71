"""The scheduler of a run's plan: it advances with time, and answers what people request.

Pure, and no clock. It reaches no relay and no process: its caller puts the changes into every outbox, in their order
(robots/run/leader.py), and has the faults of processes injected (robots/run/chaos.py). A request is `set LINES`,
`clear WHAT` or `heal`. A scheduler that gets the same requests at the same times stands where the first one stands:
so a supervisor that takes over, and a command that only reads, make their own (`scheduler_so_far`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from itertools import count
from typing import Final

import msgspec

from broker.control_entries import PlanChange, Planned
from broker.faults.feasible import RunFacts, line_problem
from broker.faults.grammar import MOST_LINES, Line, When, read_any_fault, read_lines
from broker.faults.process_faults import PROCESS_FAULTS, ProcessFault
from broker.faults.registry import FAULTS, Fault, Heal
from broker.faults.schedule import Due, DueFaults, Schedule, Timed, amend_timed
from broker.faults.syntax import LONGEST_TEXT, PlanSyntaxError, Token, one_of, whole

_INSTANCE: Final = re.compile(r"#([0-9]{1,9})")


class Set(msgspec.Struct, frozen=True):
    """Amend the plan by these lines. Their times count from the request."""

    lines: tuple[Line, ...]


class Clear(msgspec.Struct, frozen=True):
    """Take out of the plan all faults of a name, all that are exactly a fault, or the one of an instance number."""

    what: str | Fault | int

    def means(self, instance: int, fault: Fault | Heal) -> bool:
        return self.what in (instance, fault.name, fault)


class HealNow(msgspec.Struct, frozen=True):
    """End every fault that has begun."""


Request = Set | Clear | HealNow


def parse_request(words: str) -> Request:
    """The request that a text such as `set loss 0.5 r03 @1s+2s` means. Raises PlanSyntaxError."""
    text = whole(words)
    verb, *more = text.words() or [text]
    rest = Token(words, verb.end, text.end)
    if verb.text == "set":
        lines = read_lines(rest)
        if not lines:
            raise Token(words, verb.end, verb.end).syntax_error("a fault such as loss 0.2")
        return Set(tuple(lines))
    if verb.text == "clear":
        return Clear(_what(more, rest))
    if verb.text != "heal":
        raise verb.syntax_error(one_of(("set", "clear", "heal"), verb.text))
    if more:
        raise more[0].syntax_error("nothing more; for later, set heal @5s")
    return HealNow()


def _what(words: list[Token], rest: Token) -> str | Fault | int:
    if len(words) != 1:
        return read_any_fault(rest)
    (word,) = words
    if not word.text.startswith("#"):
        return word.text if word.text in FAULTS else read_any_fault(rest)
    instance = _INSTANCE.fullmatch(word.text)
    if instance is None:
        raise word.syntax_error("the number of a fault, such as #3")
    return int(instance[1])


LONGEST_PLAN: Final = 32 * 1024  # characters; a plan change with as many is still a frame that relays take
SHORT_PLAN: Final = f"a plan of {MOST_LINES} lines and {LONGEST_PLAN} characters"
_PROCESS_FAULTS: Final = frozenset(kind.name for kind in PROCESS_FAULTS)
BEFORE_GO_US: Final = -1  # any time before `go`: a scheduler makes no difference between them


def is_short(plan: Collection[Timed]) -> bool:
    """Whether a plan keeps within `SHORT_PLAN`. Faults of processes do not count: they never travel."""
    texts = [planned.line.text() for planned in plan if not isinstance(planned.line.fault, ProcessFault)]
    return len(texts) <= MOST_LINES and sum(map(len, texts)) <= LONGEST_PLAN


class _Infeasible(Exception):
    """The run can never do what is requested; the message is one line."""


class PlanScheduler:
    """A run's plan, as it stands after some time and some requests."""

    def __init__(self, plan: Iterable[Timed], for_us: int) -> None:
        plan = list(plan)
        self._for_us = for_us
        self._schedule = Schedule(plan, for_us)
        self._next_instance = max((planned.instance for planned in plan), default=-1) + 1
        self.first = PlanChange(self._schedule.in_force(BEFORE_GO_US))
        """What is in force from the deal on."""
        self._faults = self.first.faults
        self._due_faults = DueFaults()
        self._due_faults.plan(self._schedule.process_faults)
        self._due: list[Due] = []  # and not handed out yet
        self._request_ids: dict[int, str] = {}  # of the faults that were requested, by instance

    def advance(self, now_us: int) -> PlanChange | None:
        """The change to what is in force now, `now_us` after go; None when that was given last. A fault that began and
        ended since then is left out."""
        faults = self._schedule.in_force(now_us)
        return None if faults == self._faults else self._give(PlanChange(faults))

    def due_faults(self, now_us: int) -> list[Due]:
        """The faults of processes that have come due since the last call, in the order of time: each once."""
        due, self._due = self._due + self._due_faults.due(now_us), []
        return [msgspec.structs.replace(each, request_id=self._request_ids.get(each.instance, "")) for each in due]

    def answer(self, request_id: str, request: str, now_us: int, facts: RunFacts | None = None) -> PlanChange:
        """Amend the plan as `request` wants. The change, perhaps to the same faults as before, carries the request and
        its id.

        When it is no request, the plan would become too long, or the run can never do it by its `facts` (None: that was
        checked before), nothing changes, and `refusal` says why.
        """
        self._due += self._due_faults.due(now_us)
        try:
            plan = self._amended(request, now_us, facts)
        except (PlanSyntaxError, _Infeasible) as error:
            return PlanChange(self._faults, request_id, request, str(error))
        old = self._schedule.process_faults
        self._schedule = Schedule(plan, self._for_us)
        self._request_ids |= dict.fromkeys(self._schedule.process_faults.keys() - old.keys(), request_id)
        self._due_faults.plan(self._schedule.process_faults)
        return self._give(PlanChange(self._schedule.in_force(now_us), request_id, request))

    def is_about_processes(self, request: str, now_us: int) -> bool:
        """Whether `request` concerns process faults alone. Relays need not know of it: no message fault can change.
        What is no request does not: relays get its refusal."""
        try:
            wanted = parse_request(request)
        except PlanSyntaxError:
            return False
        if isinstance(wanted, Set):
            return all(isinstance(line.fault, ProcessFault) for line in wanted.lines)
        return isinstance(wanted, Clear) and self._clears_processes(wanted.what, now_us)

    def in_force(self, now_us: int) -> tuple[Planned, ...]:
        """What `advance` would put in force at `now_us`, as the plan stands."""
        return self._schedule.in_force(now_us)

    def remaining(self, now_us: int) -> list[Timed]:
        """The plan without what is over: what is in force, and what is dated to come."""
        return self._schedule.remaining(now_us)

    def next_change_us(self, now_us: int) -> int | None:
        """The first time after `now_us` at which `advance` may give a change; None when it never will."""
        return self._schedule.next_change_us(now_us)

    def next_due_us(self, now_us: int) -> int | None:
        """The first time after `now_us` at which `advance` or `due_faults` may give something; None when they never
        will."""
        times = (self._schedule.next_change_us(now_us), self._due_faults.next_us(now_us))
        return min((time_us for time_us in times if time_us is not None), default=None)

    def is_settled(self, now_us: int) -> bool:
        """Whether every dated fault has happened and, if it has a duration, is over. A fault of processes has happened
        when it was handed out; whether a pause is over, robots/run/chaos.py knows."""
        return now_us >= self._schedule.happened_us and not self._due and self._due_faults.is_idle(now_us)

    def _clears_processes(self, what: str | Fault | int, now_us: int) -> bool:
        if isinstance(what, str):
            return what in _PROCESS_FAULTS
        if isinstance(what, int):
            faults = [planned.line.fault for planned in self.remaining(now_us) if planned.instance == what]
            return bool(faults) and isinstance(faults[0], ProcessFault)
        return isinstance(what, ProcessFault)

    def _amended(self, request: str, now_us: int, facts: RunFacts | None) -> list[Timed]:
        """The plan as the request wants it. Raises PlanSyntaxError and _Infeasible, and has used no instance number
        then."""
        wanted = parse_request(request)
        if isinstance(wanted, HealNow):
            return self._schedule.to_come(now_us)
        plan = self.remaining(now_us)
        if isinstance(wanted, Clear):
            return [planned for planned in plan if not wanted.means(planned.instance, planned.line.fault)]
        if facts is not None:
            _check(wanted.lines, now_us, facts)
        instances = count(self._next_instance)
        plan = amend_timed(plan, [self._later(line, now_us) for line in wanted.lines], instances)
        if not is_short(plan):
            raise whole(request).syntax_error(f"{SHORT_PLAN} in all; clear some before")
        if any(len(planned.line.fault.text()) > LONGEST_TEXT for planned in plan):  # relays would not read it
            raise whole(request).syntax_error(f"a fault of {LONGEST_TEXT} characters, written out")
        self._next_instance = next(instances)
        return plan

    def _give(self, change: PlanChange) -> PlanChange:
        self._faults = change.faults
        return change

    def _later(self, line: Line, now_us: int) -> Line:
        """A line whose times count from `now_us`, as one whose times count from go. No fault of processes comes too
        late to be handed out."""
        when = line.when
        if when.start_us is None:
            return line
        start_us = when.start_us + now_us
        if isinstance(line.fault, ProcessFault):
            start_us = max(start_us, self._due_faults.next_free_us)
        return Line(line.fault, When(start_us, when.duration_us, when.every_us))


def _check(lines: Iterable[Line], now_us: int, facts: RunFacts) -> None:
    """Raises _Infeasible when the run can never do one of them, its time counted from `now_us`."""
    for line in lines:
        problem = line_problem(line, now_us + (line.when.start_us or 0), facts)
        if problem is not None:
            raise _Infeasible(problem)


class AnsweredRequest(msgspec.Struct, frozen=True):
    """A request that a leader has answered. `at_ms` is when, by the server's clock."""

    request_id: str
    request: str
    at_ms: int
    refusal: str = ""
    """Why it was not done; empty when it was."""


def scheduler_so_far(
    plan: Iterable[Timed],
    for_us: int,
    answered: Iterable[AnsweredRequest],
    go_ms: int | None,
    kind: type[PlanScheduler] = PlanScheduler,
) -> PlanScheduler:
    """The scheduler of `plan`, of that `kind`, after the requests that were `answered`, in their order. `go_ms` is when
    the order `go` was given, by the server's clock; None: not yet."""
    scheduler, done = kind(plan, for_us), set[str]()
    for request in answered:
        if request.request_id not in done and not request.refusal:
            done.add(request.request_id)  # an answer stands twice when a reply was lost
            after_go_us = BEFORE_GO_US if go_ms is None else max(BEFORE_GO_US, (request.at_ms - go_ms) * 1000)
            scheduler.answer(request.request_id, request.request, after_go_us)
    return scheduler
