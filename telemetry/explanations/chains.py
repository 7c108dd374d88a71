"""How a robot came to know a part: from the robot that was dealt it, over every robot that passed it on, with what
happened in between: deaths, and exchanges that failed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from telemetry.explanations.attempts import TaughtNothing, attempt_steps, attempts, summed_up
from telemetry.explanations.explanation import Step
from telemetry.explanations.lives import life_steps, outages
from telemetry.explanations.run_index import RunIndex
from telemetry.phrases import in_brackets, seconds
from telemetry.record.rows import PartRow, ms_of

_LISTED: Final = 3  # failed exchanges of one hop; more of them are counted


class Hop(msgspec.Struct, frozen=True):
    """`learner` learnt the part from `teacher`, by the copy of that number of an envelope. `had_us`: when the teacher
    had it; `sent_us`, `learnt_us`: when that envelope was sent, and its content merged (None: not known). `failed`:
    the exchanges between the two in the time between that did not bring it."""

    teacher: str
    teacher_life: int
    learner: str
    learner_life: int
    had_us: int
    sent_us: int | None
    learnt_us: int | None
    exchange: str
    kind: str
    copy: int
    faults: tuple[str, ...]
    failed: tuple[TaughtNothing, ...]


def hops(index: RunIndex, robot: str, part: int) -> list[Hop]:
    """From the robot that was dealt the part to `robot`, which holds it. A robot whose journal is gone ends the chain:
    from whom it had the part is not known."""
    found: list[Hop] = []
    learner, seen = robot, set[str]()
    while learner not in seen:
        seen.add(learner)
        row = index.robots[learner].parts.get(part) if learner in index.robots else None
        if row is None or row.cause is None:
            break
        found.append(_hop(index, learner, part, row, row.cause))
        learner = row.cause[0]
    return found[::-1]


def _hop(index: RunIndex, learner: str, part: int, row: PartRow, cause: tuple[str, int, int, int]) -> Hop:
    teacher, life, sequence, copy = cause
    fate = index.fates.get((teacher, life, learner, sequence))
    had_us = (index.learnt_us(teacher, part) if teacher in index.robots else None) or index.go_us or 0
    sent_us = None if fate is None else ms_of(fate.id) * 1000
    failed = attempts(index, learner, teacher, had_us, sent_us or had_us)
    return Hop(
        teacher,
        life,
        learner,
        int(row.id.partition("-")[0]),
        had_us,
        sent_us,
        index.learnt_us(learner, part),
        "" if fate is None else fate.exchange or "",
        "" if fate is None else fate.kind or "",
        copy,
        () if fate is None else tuple(planned.fault for planned in fate.faults),
        tuple(each for each in failed if fate is None or each.exchange != fate.exchange),
    )


def chain_steps(index: RunIndex, robot: str, part: int) -> Iterator[Step]:
    """The chain as steps, in the order of time."""
    chain = hops(index, robot, part)
    yield _origin(index, chain[0].teacher if chain else robot, part)
    for hop in chain:
        until_us = hop.sent_us or hop.learnt_us or index.end_us
        yield from life_steps(index, hop.teacher, hop.had_us, until_us, f"its journal kept part {part}")
        yield from _failures(index, hop)
        if hop.sent_us is not None and hop.learnt_us is not None:
            yield from life_steps(index, hop.learner, hop.had_us, hop.learnt_us)
            yield from map(Step, outages(index, hop.had_us, hop.learnt_us))
        yield _learning(index, hop, part)
    if chain and chain[-1].learnt_us is not None:
        yield from _since_then(index, robot, part, chain[-1].learnt_us + 1)


def _since_then(index: RunIndex, robot: str, part: int, since_us: int) -> Iterator[Step]:
    """The robot's lives after it had learnt the part; of many, their number."""
    deaths = [death for death, _ in index.deaths.get(robot, ()) if since_us <= ms_of(death.id) * 1000 <= index.end_us]
    if len(deaths) <= _LISTED:
        yield from life_steps(index, robot, since_us, index.end_us, f"its journal kept part {part}")
        return
    text = f"{robot} died {len(deaths)} times after that; its journal kept part {part}"
    yield Step(text, index.after_go_s(ms_of(deaths[0].id) * 1000), robot=robot)


def _origin(index: RunIndex, robot: str, part: int) -> Step:
    row = index.robots[robot].parts.get(part) if robot in index.robots else None
    others = [name for name in index.dealt.get(part, ()) if name != robot]
    also = in_brackets(f"as {', '.join(others)} was" if len(others) == 1 else f"as {', '.join(others)} were")
    if robot in index.dealt.get(part, ()):
        return Step(f"{robot} was dealt part {part}{also if others else ''}", at_s=0.0, robot=robot)
    if row is None:
        return Step(f"{robot} knew part {part}, but its journal does not show from whom", robot=robot)
    return Step(f"{robot} had part {part} from the start", at_s=0.0, robot=robot)


def _failures(index: RunIndex, hop: Hop) -> Iterator[Step]:
    """The exchanges of a hop that failed: each, or their number."""
    failed = [each for each in hop.failed if each.stage != "none" and (each.fate, each.stage) != ("unsent", "update")]
    if len(failed) <= _LISTED:
        yield from attempt_steps(index, failed)
        return
    at_s = index.after_go_s(failed[0].begun_us)
    faults = tuple(dict.fromkeys(fault for each in failed for fault in each.faults))
    yield Step(f"{hop.teacher} and {hop.learner}: {summed_up(failed)}", at_s=at_s, robot=hop.learner, faults=faults)


def _learning(index: RunIndex, hop: Hop, part: int) -> Step:
    at_s = None if hop.learnt_us is None else index.after_go_s(hop.learnt_us)
    lives = hop.learner_life, hop.teacher_life
    learner, teacher = (
        f"{name}/{life}" if life > 1 else name for name, life in zip((hop.learner, hop.teacher), lives, strict=True)
    )
    text = f"{learner} learnt part {part} from {teacher}"
    if hop.kind:
        text += f", by {_an(hop.kind)} of exchange {hop.exchange}{f', copy {hop.copy + 1}' * (hop.copy > 0)}"
    took_s = None
    if hop.sent_us is not None and hop.learnt_us is not None:
        took_us = max(0, hop.learnt_us - hop.sent_us)
        took_s = round(took_us / 1e6, 3)
        text += f", {seconds(took_us)} on its way{in_brackets(', '.join(hop.faults))}"
    return Step(
        text,
        at_s=at_s,
        took_s=took_s,
        robot=hop.learner,
        life=hop.learner_life,
        exchange=hop.exchange,
        faults=hop.faults,
    )


def _an(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
