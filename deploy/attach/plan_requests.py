"""What people write to `robots faults`, checked, and put into the words that a conductor reads
(broker/faults/scheduler.py).

Nothing is asked for here. Every complaint is one line that says what is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from broker.control_entries import PlanChange
from broker.faults.grammar import Line, parse_fault, parse_lines
from broker.faults.registry import Fault, Heal
from broker.faults.schedule import Timed
from broker.faults.scheduler import Clear, parse_request
from broker.faults.syntax import PlanSyntaxError
from broker.streams.run.plan_log import LONGEST_REQUEST
from deploy.attach.live_plan import LivePlan
from deploy.config.experiment import unfit
from deploy.errors import UsageError


def set_lines(given: Sequence[str]) -> list[Line]:
    """The lines in the first of the words that were given; the second is RUN. Raises Unfit."""
    try:
        lines = parse_lines(given[0])
    except PlanSyntaxError as error:
        raise _unquoted("set", given, _is_plan) or _misspelt(given, error) from None
    if len(given) > 2:
        raise _unquoted("set", given, _is_plan) or _surplus("FAULT", given)
    if not lines:
        raise UsageError("FAULT: there is none; allowed is one text such as 'loss .5' or 'delay 20ms r03 @2s+3s'")
    return lines


def _misspelt(given: Sequence[str], error: PlanSyntaxError) -> UsageError:
    """What is wrong with the first word, or, where it looks as if quotes were forgotten, with all of them."""
    if " " not in given[0]:
        try:
            parse_lines(" ".join(given))
        except PlanSyntaxError as other:
            return UsageError(f"FAULT: {other}")
    return UsageError(f"FAULT: {error}")


def _surplus(what: str, given: Sequence[str]) -> UsageError:
    return UsageError(f"{given[2]!r} is too much; allowed are {what}, one text in quotes, and RUN")


def _unquoted(command: str, given: Sequence[str], is_right: Callable[[str], bool]) -> UsageError | None:
    """The complaint about quotes that were forgotten, if with them the words would be right."""
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
    """The words that put `lines` in force. Raises Unfit."""
    _check(lines, plan)
    return _fitting(f"set {'; '.join(line.text() for line in lines)}")


def check_clear(given: Sequence[str]) -> None:
    """WHAT and RUN are all that may be given. Raises Unfit."""
    if len(given) > 2:
        raise unquoted_clear(given) or _surplus("WHAT", given)


def unquoted_clear(given: Sequence[str]) -> UsageError | None:
    """The complaint about quotes that were forgotten around WHAT, if that is what happened."""
    return _unquoted("clear", given, _is_fault)


def clear_request(what: str, in_force: Iterable[PlanChange], remaining: Iterable[Timed] | None) -> str:
    """The words that end `what`: a name, a text or a number that is in force at a relay, or that remains of the plan.
    Where the rest of the plan is not known (None), whatever can be asked for may be. Raises Unfit."""
    words = f"clear {'#' * what.isdecimal()}{what.strip()}"
    asked = _asked(words)
    known = _known(in_force, remaining or ())
    if asked is not None and (remaining is None or any(asked.means(*named) for named in known)):
        return _fitting(words)
    allowed = "nothing is"
    if known:
        allowed = f"allowed is one of {', '.join(f'{fault.text()} (#{instance})' for instance, fault in known)}"
    raise UsageError(f"WHAT: {what!r} is neither in force nor to come; {allowed}")


def _asked(words: str) -> Clear | None:
    try:
        asked = parse_request(words)
    except PlanSyntaxError:
        return None
    return asked if isinstance(asked, Clear) else None


def _known(in_force: Iterable[PlanChange], remaining: Iterable[Timed]) -> list[tuple[int, Fault | Heal]]:
    """Each fault with its number, once. What relays are said to have met may be anything."""
    known: dict[int, Fault | Heal] = {}
    for planned in (planned for change in in_force for planned in change.faults):
        with suppress(PlanSyntaxError):
            known[planned.instance] = parse_fault(planned.text)
    return sorted(
        ({dated.instance: dated.line.fault for dated in remaining} | known).items(), key=lambda named: named[0]
    )


def _check(lines: Iterable[Line], plan: LivePlan) -> None:
    """Against what the grammar does not know. Raises Unfit."""
    for_us = None if plan.settings is None else plan.settings.for_us
    for line in lines:
        begin_us = (plan.now_us or 0) + (line.when.start_us or 0)
        complaint = unfit(line, len(plan.run_status.robots), plan.run_status.shards, begin_us, for_us)
        if complaint is not None:
            raise UsageError(f"FAULT: {complaint}")


def _fitting(words: str) -> str:
    if len(words.encode()) > LONGEST_REQUEST:
        raise UsageError(
            f"FAULT: a request of {len(words.encode())} bytes is too long; at most {LONGEST_REQUEST} are allowed"
        )
    return words
