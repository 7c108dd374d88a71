"""What happened in a run as a whole: what was broken on purpose, what was injected and reported, and what kept the run
going after the write. Steps in the order of time; the explanation of single robots stands elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Final

from telemetry.events import (
    AnomalyBegan,
    AnyEvent,
    EvidenceLost,
    FaultInjected,
    InboxOverflowed,
    InjectionFailed,
    RelayDeposed,
    RelayMissing,
    RobotLost,
    RobotWaiting,
    ServerForgot,
    Stamped,
)
from telemetry.explanations.explanation import Step
from telemetry.explanations.lives import outages, stalls
from telemetry.explanations.run_index import RunIndex
from telemetry.phrases import named_robots, seconds
from telemetry.record.rows import PlanRow
from telemetry.stories.sentences import is_notable, sentence_of

_REPORTED: Final[tuple[type[AnyEvent], ...]] = (
    EvidenceLost,
    FaultInjected,
    InboxOverflowed,
    InjectionFailed,
    RelayDeposed,
    RelayMissing,
    RobotLost,
    RobotWaiting,
    ServerForgot,
)

_ENDS: Final = {
    "complete": "the run was over: the secret was written, and every robot that could be was complete",
    "limit": "the run was stopped: its time limit was over",
    "stopped": "the run was stopped by a person",
    "interrupted": "the run was interrupted",
    "lost": "the run was lost with its server's data",
}
_MOST_ANOMALIES: Final = 8  # of one rule that are named


def purposes(index: RunIndex) -> Iterator[Step]:
    """What was broken on purpose, or took evidence away: an exhibit, and injections that removed a journal."""
    if index.history.settings.exhibit is not None:
        yield Step(f"the lab was broken on purpose, by the exhibit {index.history.settings.exhibit}")
    for robot, history in index.robots.items():
        for _, injection in index.deaths.get(robot, ()):
            if history.is_lost and injection is not None and injection.verb == "amnesia":
                text = f"the journal of {robot} was removed on purpose (injected: amnesia {injection.target})"
                yield Step(text, index.after_go_s(index.injected_us(injection)), robot=robot)


def reports(index: RunIndex) -> Iterator[Step]:
    """Changes of the plan; injections, absences, losses and anomalies, as events reported them; and the end."""
    reported = (each for each in index.history.events if isinstance(each.event, _REPORTED) and is_notable(each))
    steps = [Step(_report_text(each), index.after_go_s(each.wall_us)) for each in reported]
    steps += (_plan_step(index, row) for row in index.plans)
    steps += [*_anomalies(index), *stalls(index, 0, index.end_us), *_pauses(index)]
    end_s = index.after_go_s(index.end_us)
    yield from sorted((each for each in steps if (each.at_s or 0) < end_s), key=lambda step: step.at_s or 0.0)
    reasons = (row.reason for row in index.history.orders if row.order == "stop")
    if index.stop_us is not None:
        yield Step(_ENDS.get(next(reasons, None) or "", "the run was stopped"), end_s)


def _pauses(index: RunIndex) -> Iterator[Step]:
    """Pauses of the server and of relays that were ended, each as one span."""
    yield from (step for step in outages(index, 0, index.end_us) if step.took_s is not None)


def _anomalies(index: RunIndex) -> Iterator[Step]:
    """What the leader found unusual; one step for all that one rule found."""
    by_rule: dict[str, list[tuple[Stamped, AnomalyBegan]]] = {}
    for stamped in index.history.events:
        if isinstance(stamped.event, AnomalyBegan) and stamped.wall_us <= index.end_us:
            by_rule.setdefault(stamped.event.rule, []).append((stamped, stamped.event))
    for rule, found in by_rule.items():
        first, event = found[0]
        text = f"anomaly: {rule}: {event.about}: {event.detail}"
        others = [f"{each.about} at {index.after_go_s(at.wall_us):.3f} s" for at, each in found[1:]]
        if others:
            more = f" and {len(others) - _MOST_ANOMALIES} more" * (len(others) > _MOST_ANOMALIES)
            text += f"; also {', '.join(others[:_MOST_ANOMALIES])}{more}"
        yield Step(text, index.after_go_s(first.wall_us))


def after_write(index: RunIndex, write: Stamped) -> Iterator[Step]:
    """What kept the run going after the write, as far as it is known: robots that were not complete, what the plan did
    later, and the shortest time that was set."""
    if index.end_us - write.wall_us <= 2 * index.tick_us:
        return
    steps = [*_still_incomplete(index, write), *_done_later(index, write), *outages(index, write.wall_us, index.end_us)]
    yield from sorted(steps, key=lambda step: inf if step.at_s is None else step.at_s)
    if index.history.settings.for_us > write.wall_us - (index.go_us or 0):
        yield Step(f"the run was to last for {seconds(index.history.settings.for_us)} at least (--for)")


def _done_later(index: RunIndex, write: Stamped) -> Iterator[Step]:
    """Changes of the plan and injections after the write; pauses stand among the outages."""
    for row in index.plans:
        at_us = index.plan_us(row)
        if at_us is not None and write.wall_us < at_us < index.end_us:
            yield _plan_step(index, row)
    for stamped in index.history.events:
        is_later = write.wall_us < stamped.wall_us < index.end_us
        if is_later and isinstance(stamped.event, FaultInjected) and stamped.event.verb not in ("pause", "resume"):
            yield Step(_report_text(stamped), index.after_go_s(stamped.wall_us))


def _still_incomplete(index: RunIndex, write: Stamped) -> Iterator[Step]:
    """Robots that were not complete when the secret was written; those that never were, together."""
    never = []
    for robot, viewed in index.view.robots.items():
        if robot not in index.robots or viewed.state in ("dead", "waiting"):
            continue
        completed_us = index.completed_us(robot)
        if not index.is_complete(robot):
            never.append(robot)
        elif completed_us is None:
            yield Step(f"when {robot} was complete is not known", robot=robot)
        elif completed_us > write.wall_us:
            later = seconds(completed_us - write.wall_us)
            text = f"{robot} was complete only here, {later} after the write{_last_part(index, robot)}"
            yield Step(text, index.after_go_s(completed_us), robot=robot)
    if never:
        are = "was" if len(never) == 1 else "were"
        yield Step(f"{named_robots(never)} {are} not complete until the end")


def _last_part(index: RunIndex, robot: str) -> str:
    part = index.last_part(robot)
    return "" if part is None else f" (robots why {robot} --part {part})"


def _plan_step(index: RunIndex, row: PlanRow) -> Step:
    at_us = index.plan_us(row)
    return Step(_plan_text(row), None if at_us is None else index.after_go_s(at_us))


def _plan_text(row: PlanRow) -> str:
    faults = ", ".join(planned.fault for planned in row.faults) or "none"
    request = f" (a person requested: {row.request}{f'; refused: {row.refusal}' * bool(row.refusal)})"
    return f"faults in force: {faults}{request * bool(row.request)}"


def _report_text(stamped: Stamped) -> str:
    match stamped.event:
        case FaultInjected(verb, target, victim):
            return f"injected: {verb} {target}" + f", which was {victim}" * (victim != target)
        case InjectionFailed(verb, target, why):
            return f"not injected: {verb} {target}: {why}"
        case RobotLost(robot, worker):
            return f"{robot} was lost: its RQ worker {worker} did not renew its lease"
    return sentence_of(stamped)
