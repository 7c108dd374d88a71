"""Explains one robot: what it knows of a part and from whom, or why it lacks it; why it was last, is not complete, or
has not written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from telemetry.events import ExchangeEnded, RobotComplete
from telemetry.explanations.attempts import LATE_US, causing, due_us_of, lag_us_of, way_us_of
from telemetry.explanations.chains import chain_steps, hops
from telemetry.explanations.explanation import Explanation, Step, section
from telemetry.explanations.lacking import lacking_sections, why_lacking
from telemetry.explanations.lives import life_story, state_at_the_end
from telemetry.explanations.run_index import RunIndex
from telemetry.explanations.writing import lack_text, why_written, writing_steps
from telemetry.phrases import counted, in_brackets, named_parts, seconds
from telemetry.record.rows import FateRow, ms_of


def why_part(index: RunIndex, robot: str, part: int) -> Explanation:
    """How the robot came to know the part, or why it lacks it."""
    row = index.learnt(robot, part)
    lost = f"; its journal was lost since then{_lost_how(index, robot)}" * index.robots[robot].is_lost
    if row is None:
        answer = f"{robot} {'is not known to have held' if lost else 'lacks'} part {part}: "
        answer += why_lacking(index, robot, part)
        return Explanation(index.run, robot, part, answer, lacking_sections(index, robot, part))
    if row.cause is None:
        answer = f"{robot} was dealt part {part}{lost}"
        return Explanation(index.run, robot, part, answer, section("its lives", life_story(index, robot)))
    chain = hops(index, robot, part)
    learnt_us = index.learnt_us(robot, part)
    when = "" if learnt_us is None else f" {index.after_go_s(learnt_us):.2f} s after go"
    first = chain[0].teacher
    over = f", which was dealt it, over {counted(len(chain) - 1, 'other robot')}" if len(chain) > 1 else ""
    source = f"from {row.cause[0]}{', which was dealt it' if len(chain) == 1 else f'; it came from {first}{over}'}"
    answer = f"{robot} learnt part {part}{when}, {source}{lost}"
    return Explanation(
        index.run, robot, part, answer, section(f"how part {part} came to it", chain_steps(index, robot, part))
    )


def why_robot(index: RunIndex, robot: str) -> Explanation:
    """Why the robot is complete when it is, or is not; and why it wrote, or did not."""
    answer = f"{robot} {_completion(index, robot)}; {why_written(index, robot)}"
    last = index.last_part(robot)
    is_late = last is not None and index.is_complete(robot)
    sections = (
        *section("what it lacks", _lacks(index, robot)),
        *section(f"how its last part, {last}, came to it", chain_steps(index, robot, last or 0) if is_late else ()),
        *section("when it was complete, and wrote", writing_steps(index, robot)),
        *section("its exchanges", (*_exchanges(index, robot), *_on_the_way(index, robot))),
        *section("its lives", life_story(index, robot)),
    )
    return Explanation(index.run, robot, None, answer, sections)


def _completion(index: RunIndex, robot: str) -> str:
    if index.robots[robot].is_lost:
        how = _lost_how(index, robot)
        return f"lost its journal: what it knew cannot be proven any more{how}{_reported(index, robot)}"
    if not index.is_complete(robot):
        state = state_at_the_end(index, robot)
        absence = "" if state == "lived" else f", and {state}"
        return f"{lack_text(index, robot)}{absence}"
    completed_us = index.completed_us(robot)
    if completed_us is None:
        return "is complete; when is not known"
    if all(row.cause is None for row in index.robots[robot].parts.values()):
        return "was dealt every part"
    return f"was complete {index.after_go_s(completed_us):.2f} s after go{_rank(index, robot, completed_us)}"


def _lost_how(index: RunIndex, robot: str) -> str:
    deaths = [injection for _, injection in index.deaths.get(robot, ()) if injection is not None]
    lost = [injection for injection in deaths if injection.verb == "amnesia"]
    return f" (injected: amnesia {lost[-1].target})" if lost else ""


def _reported(index: RunIndex, robot: str) -> str:
    """What a robot had reported of its completion before its journal was lost."""
    reported = next(index.reported(robot, RobotComplete), None)
    if reported is None or not isinstance(reported.event, RobotComplete):
        return "; it had not reported to be complete"
    at_s = index.after_go_s(reported.wall_us)
    return f"; it had reported {at_s:.3f} s after go that it held all {reported.event.parts} parts"


def _rank(index: RunIndex, robot: str, completed_us: int) -> str:
    """`, the last of 6, 0.31 s after the one before`."""
    times = {name: index.completed_us(name) for name in index.robots}
    known = sorted((at_us, name) for name, at_us in times.items() if at_us is not None)
    place = known.index((completed_us, robot))
    if len(known) == 1:
        return ", as the only one"
    if place == 0:
        return f", the first of {len(known)}"
    gap = seconds(completed_us - known[place - 1][0])
    ordinal = "the last" if place == len(known) - 1 else f"number {place + 1}"
    return f", {ordinal} of {len(known)}, {gap} after {known[place - 1][1]}"


def _lacks(index: RunIndex, robot: str) -> Iterator[Step]:
    """Each part that it lacks; parts with the same reason together."""
    if index.robots[robot].is_lost:
        return
    by_reason: dict[str, list[int]] = {}
    for part in index.lacking(robot):
        by_reason.setdefault(why_lacking(index, robot, part), []).append(part)
    for reason, parts in by_reason.items():
        yield Step(reason if named_parts(parts) in reason else f"{named_parts(parts)}: {reason}", robot=robot)


def _exchanges(index: RunIndex, robot: str) -> Iterator[Step]:
    """How the exchanges that it began ended, by peer, where any got no answer."""
    by_peer: dict[str, Counter[str]] = {}
    for stamped in index.reported(robot, ExchangeEnded):
        if isinstance(stamped.event, ExchangeEnded) and stamped.wall_us <= index.end_us:
            by_peer.setdefault(stamped.event.peer, Counter())[stamped.event.outcome] += 1
    total = sum((outcomes for outcomes in by_peer.values()), Counter[str]())
    if not by_peer:
        if index.go_us is not None and state_at_the_end(index, robot) == "lived":
            yield Step(f"{robot} ended no exchange of its own", robot=robot)
        return
    yield Step(f"of {counted(total.total(), 'exchange')} that it began, {_outcomes(total)}", robot=robot)
    silent = [
        f"{peer} ({outcomes['timeout']} of {outcomes.total()})"
        for peer, outcomes in sorted(by_peer.items())
        if outcomes["timeout"] >= 3 and outcomes["timeout"] * 2 > outcomes.total()
    ]
    if silent:
        text = f"peers with which at least 3 exchanges, and most of them, got no answer: {', '.join(silent)}"
        yield Step(text, robot=robot)


def _on_the_way(index: RunIndex, robot: str) -> Iterator[Step]:
    """What became of the envelopes that it sent, and of those that were sent to it."""
    sent: Counter[str] = Counter()
    coming: Counter[str] = Counter()
    for (sender, _, receiver, _), row in index.fates.items():
        if robot in (sender, receiver) and ms_of(row.id) * 1000 <= index.end_us:
            (sent if sender == robot else coming)[_fate_text(index, row)] += 1
    for what, fates in (("it sent", sent), ("were sent to it", coming)):
        if fates.total():
            named = ", ".join(f"{count} {fate}" for fate, count in fates.most_common())
            yield Step(f"of {counted(fates.total(), 'envelope')} that {what}: {named}", robot=robot)


def _fate_text(index: RunIndex, row: FateRow) -> str:
    faults = [planned.fault for planned in row.faults]
    if row.fate == "lost":
        return f"lost{in_brackets(', '.join(causing('lost', faults)))}"
    if row.fate != "delivered":
        return row.fate
    due_us = due_us_of(row) or 0
    if due_us > index.end_us:
        return "on the way at the end"
    if row.receiver in index.robots and not index.lived_at(row.receiver, due_us):
        return f"put into the inbox of {row.receiver} while it did not live"
    if way_us_of(row) > LATE_US:
        why = "its relay decided late" if lag_us_of(row) else ", ".join(causing("late", faults))
        return f"delivered over {seconds(LATE_US)} late{in_brackets(why)}"
    return "delivered"


def _outcomes(outcomes: Counter[str]) -> str:
    words = {"answered": "answered with parts", "equal": "answered that both know the same", "timeout": "got no answer"}
    return ", ".join(f"{outcomes[outcome]} {text}" for outcome, text in words.items() if outcomes[outcome])
