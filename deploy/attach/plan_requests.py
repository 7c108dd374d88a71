"""The arguments of `robots faults`, checked, and written as requests that the scheduler reads
(broker/faults/scheduler.py). Nothing is sent here. Every error is one line that says what is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from broker.control_entries import PlanChange
from broker.faults.feasible import RunFacts, line_problem
from broker.faults.grammar import Line, parse_fault, parse_lines
from broker.faults.registry import Fault, Heal
from broker.faults.schedule import Timed
from broker.faults.scheduler import Clear, parse_request
from broker.faults.syntax import PlanSyntaxError
from broker.streams.run.plan_log import LONGEST_REQUEST
from deploy.attach.live_plan import LivePlan
from deploy.errors import UsageError


def set_lines(given: Sequence[str]) -> list[Line]:
    """The lines in the first argument; the second is RUN. Raises UsageError."""
    try:
        lines = parse_lines(given[0])
    except PlanSyntaxError as error:
        raise _unquoted("set", given, _is_plan) or _syntax_error(given, error) from None
    if len(given) > 2:
        raise _unquoted("set", given, _is_plan) or _surplus("FAULT", given)
    if not lines:
        raise UsageError("FAULT: there is none; allowed is one text such as 'loss .5' or 'delay 20ms r03 @2s+3s'")
    return lines


def _syntax_error(given: Sequence[str], error: PlanSyntaxError) -> UsageError:
    """The error in the first argument; or, where it looks as if quotes were forgotten, in all of them."""
    if " " not in given[0]:
        try:
            parse_lines(" ".join(given))
        except PlanSyntaxError as other:
            return UsageError(f"FAULT: {other}")
    return UsageError(f"FAULT: {error}")


def _surplus(what: str, given: Sequence[str]) -> UsageError:
    return UsageError(f"{given[2]!r} is too much; allowed are {what}, one text in quotes, and RUN")


def _unquoted(command: str, given: Sequence[str], is_right: Callable[[str], bool]) -> UsageError | None:
    """The error about forgotten quotes, if the arguments would be right with them."""
    for end in range(len(given), 1, -1):
        text, rest = " ".join(given[:end]), given[end:]
        if len(rest) <= 1 and is_right(text):
            right = " ".join(["robots", "faults", command, f'"{text}"', *rest])
            return UsageError(f"a fault is one text; write it in quotes: {right}")
    return None


def _is_plan(text: str) -> bool:
    try:
        return bool(parse_lines(text))
    except PlanSyntaxError:
        return False


def _is_fault(text: str) -> bool:
    try:
        parse_fault(text)
    except PlanSyntaxError:
        return False
    return True


def set_request(lines: Sequence[Line], plan: LivePlan) -> str:
    """The request that puts `lines` in force. Raises UsageError."""
    _check(lines, plan)
    return _short_enough(f"set {'; '.join(line.text() for line in lines)}")


def check_clear(given: Sequence[str]) -> None:
    """WHAT and RUN are all that is allowed. Raises UsageError."""
    if len(given) > 2:
        raise unquoted_clear(given) or _surplus("WHAT", given)


def unquoted_clear(given: Sequence[str]) -> UsageError | None:
    """The error about forgotten quotes around WHAT, if they were forgotten."""
    return _unquoted("clear", given, _is_fault)


def clear_request(what: str, in_force: Iterable[PlanChange], remaining: Iterable[Timed] | None) -> str:
    """The request that ends `what`: a name, a text or a number that is in force at a relay, or remains of the plan.
    Where the rest of the plan is not known (None), any fault is allowed. Raises UsageError."""
    request = f"clear {'#' * what.isdecimal()}{what.strip()}"
    clear = _clear_in(request)
    known = _known(in_force, remaining or ())
    if clear is not None and (remaining is None or any(clear.means(*named) for named in known)):
        return _short_enough(request)
    allowed = "there is nothing to clear"
    if known:
        allowed = f"allowed is one of {', '.join(f'{fault.text()} (#{instance})' for instance, fault in known)}"
    raise UsageError(f"WHAT: {what!r} is neither in force nor to come; {allowed}")


def _clear_in(request: str) -> Clear | None:
    try:
        parsed = parse_request(request)
    except PlanSyntaxError:
        return None
    return parsed if isinstance(parsed, Clear) else None


def _known(in_force: Iterable[PlanChange], remaining: Iterable[Timed]) -> list[tuple[int, Fault | Heal]]:
    """Each fault with its number, once. Anybody may have written what stands in a relay's plan."""
    known: dict[int, Fault | Heal] = {}
    for planned in (planned for change in in_force for planned in change.faults):
        with suppress(PlanSyntaxError):
            known[planned.instance] = parse_fault(planned.text)
    return sorted(
        ({dated.instance: dated.line.fault for dated in remaining} | known).items(), key=lambda named: named[0]
    )


def _check(lines: Iterable[Line], plan: LivePlan) -> None:
    """What the grammar does not check, as far as it is known here; the leader checks the rest. Raises UsageError."""
    for_us, limit_us = (None, None) if plan.settings is None else (plan.settings.for_us, plan.settings.limit_us)
    facts = RunFacts(len(plan.run_status.robots), plan.run_status.shards, for_us, limit_us)
    for line in lines:
        problem = line_problem(line, (plan.now_us or 0) + (line.when.start_us or 0), facts)
        if problem is not None:
            raise UsageError(f"FAULT: {problem}")


def _short_enough(request: str) -> str:
    if len(request.encode()) > LONGEST_REQUEST:
        raise UsageError(
            f"FAULT: a request of {len(request.encode())} bytes is too long; at most {LONGEST_REQUEST} are allowed"
        )
    return request
