"""How a robot came to know a part: from the robot that was dealt it, over every robot that passed it on, with what
happened in between: deaths, and exchanges that failed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from telemetry.events import MessageSent
from telemetry.explanations.attempts import (
    LATE_US,
    TaughtNothing,
    attempt_steps,
    attempts,
    due_us_of,
    lag_text,
    lag_us_of,
    late_causes,
    summed_up,
)
from telemetry.explanations.explanation import Step
from telemetry.explanations.lives import life_steps, outages
from telemetry.explanations.run_index import Address, Cause, RunIndex
from telemetry.phrases import in_brackets, seconds
from telemetry.record.rows import FateRow, ms_of

_LISTED: Final = 3  # failed exchanges of one hop; more of them are counted
SLOW_MERGE_US: Final = 20_000
"""A robot that had received a part for longer before it merged it was slow itself."""


class Awaited(msgspec.Struct, frozen=True):
    """A message of the learner or of the teacher without which the part would not have been sent: that was a reply to
    it. It was due at `due_us`."""

    kind: str
    sender: str
    sent_us: int
    due_us: int
    faults: tuple[str, ...]
    lag_us: int


class Hop(msgspec.Struct, frozen=True):
    """`learner` learnt the part from `teacher`, by the copy of that number of an envelope. `had_us`: when the teacher
    had it; `sent_us`, `received_us`, `learnt_us`: when that envelope was sent, when the learner reported that it came,
    and when its content was merged (None: not known). `failed`: the exchanges between the two in the time between that
    did not bring it. `awaited`: the messages of the same exchange that had to come first. `lag_us`:
    how long the relay took to decide that envelope's fate, if long."""

    teacher: str
    teacher_life: int
    learner: str
    learner_life: int
    had_us: int | None
    sent_us: int | None
    received_us: int | None
    learnt_us: int | None
    exchange: str
    kind: str
    copy: int
    faults: tuple[str, ...]
    failed: tuple[TaughtNothing, ...]
    awaited: tuple[Awaited, ...]
    lag_us: int

    @property
    def ends(self) -> tuple[str, str]:
        """From whom to whom."""
        return self.teacher, self.learner

    @property
    def waited_us(self) -> int:
        """How long the teacher had the part before it sent it; 0 when that is not known."""
        return 0 if self.had_us is None or self.sent_us is None else max(0, self.sent_us - self.had_us)

    @property
    def kept_us(self) -> int:
        """How long the learner had received the part before it merged it; 0 when that is short, or not known."""
        known = self.received_us is not None and self.learnt_us is not None
        kept_us = (self.learnt_us or 0) - (self.received_us or 0) if known else 0
        return kept_us if kept_us >= SLOW_MERGE_US else 0

    @property
    def way_us(self) -> int | None:
        """How long the envelope was on its way; None when that is not known."""
        if self.sent_us is None or self.learnt_us is None:
            return None
        return max(0, self.learnt_us - self.kept_us - self.sent_us)


def hops(index: RunIndex, robot: str, part: int) -> list[Hop]:
    """From the robot that was dealt the part to `robot`, which holds it. A robot of which neither its journal nor its
    events show from whom it had the part ends the chain."""
    found: list[Hop] = []
    learner, seen = robot, set[str]()
    while learner not in seen:
        seen.add(learner)
        learnt = index.learnt(learner, part)
        if learnt is None or learnt.cause is None:
            break
        found.append(_hop(index, learner, part, learnt.life, learnt.cause))
        learner = learnt.cause[0]
    return found[::-1]


def _hop(index: RunIndex, learner: str, part: int, learner_life: int, cause: Cause) -> Hop:
    teacher, life, sequence, copy = cause
    fate = index.fates.get((teacher, life, learner, sequence))
    had_us = index.learnt_us(teacher, part)
    sent_us = None if fate is None else ms_of(fate.id) * 1000
    known = had_us is not None and sent_us is not None
    return Hop(
        teacher,
        life,
        learner,
        learner_life,
        had_us,
        sent_us,
        index.received_us(learner, cause),
        index.learnt_us(learner, part),
        "" if fate is None else fate.exchange or "",
        "" if fate is None else fate.kind or "",
        copy,
        () if fate is None else tuple(planned.fault for planned in fate.faults),
        tuple(_failed(index, learner, teacher, had_us or 0, sent_us or 0, fate)) if known else (),
        tuple(_awaited(index, (teacher, life, learner, sequence), had_us or 0)) if known else (),
        0 if fate is None else lag_us_of(fate),
    )


def _failed(
    index: RunIndex, learner: str, teacher: str, had_us: int, sent_us: int, fate: FateRow | None
) -> Iterator[TaughtNothing]:
    """The other exchanges of the two in that time; a message on its way that was not late is no failure."""
    for each in attempts(index, learner, teacher, had_us, sent_us):
        is_usual = each.fate == "late" and each.due_us - each.begun_us < LATE_US
        if not is_usual and (fate is None or each.exchange != fate.exchange):
            yield each


def _awaited(index: RunIndex, address: Address, since_us: int) -> Iterator[Awaited]:
    """The messages that the envelope replied to, directly or not, and that came after `since_us`: the latest first."""
    while (sending := index.sendings.get(address)) is not None:
        sender, _, receiver, _ = address
        cause = sending.event.cause if isinstance(sending.event, MessageSent) else None
        if cause is None:
            return
        life, sequence, copy = cause
        address = (receiver, life, sender, sequence)
        fate = index.fates.get(address)
        due_us = None if fate is None else due_us_of(fate, copy)
        if fate is None or due_us is None:
            return
        if due_us > since_us:
            kind, sent_us = fate.kind or "message", ms_of(fate.id) * 1000
            yield Awaited(kind, receiver, sent_us, due_us, late_causes(fate), lag_us_of(fate))


def awaited_text(index: RunIndex, hop: Hop) -> str:
    """Which message of the exchange held the part up, if one did for most of the time; empty if none did."""
    slow = max(hop.awaited, key=lambda each: each.due_us - each.sent_us, default=None)
    if slow is None or hop.had_us is None:
        return ""
    if slow.due_us - max(slow.sent_us, hop.had_us) < max(hop.waited_us // 2, 1):
        return ""
    way = seconds(slow.due_us - slow.sent_us)
    sent_s = index.after_go_s(slow.sent_us)
    text = f"{slow.sender}'s {slow.kind} of {sent_s:.3f} s, which had to come first, was {way} on its way"
    return text + in_brackets(", ".join(slow.faults)) + lag_text(slow.lag_us)


def chain_steps(index: RunIndex, robot: str, part: int) -> Iterator[Step]:
    """The chain as steps, in the order of time."""
    chain = hops(index, robot, part)
    yield _origin(index, chain[0].teacher if chain else robot, part)
    for hop in chain:
        yield from sorted(_before(index, hop, part), key=lambda step: step.at_s or 0.0)
        yield _learning(index, hop, part)
    if chain and chain[-1].learnt_us is not None:
        yield from _since_then(index, robot, part, chain[-1].learnt_us + 1)


def _before(index: RunIndex, hop: Hop, part: int) -> Iterator[Step]:
    """What happened between the time when the teacher had the part and the one when the learner merged it."""
    if hop.had_us is None:
        yield Step(f"when {hop.teacher} had part {part} is not known", robot=hop.teacher)
        return
    until_us = hop.sent_us or hop.learnt_us or index.end_us
    yield from life_steps(index, hop.teacher, hop.had_us, until_us, f"its journal kept part {part}")
    yield from _failures(index, hop)
    if text := awaited_text(index, hop):
        slow = max(hop.awaited, key=lambda each: each.due_us - each.sent_us)
        at_s = index.after_go_s(slow.sent_us)
        yield Step(text, at_s, robot=slow.sender, exchange=hop.exchange, faults=slow.faults)
    if hop.sent_us is not None and hop.learnt_us is not None:
        yield from life_steps(index, hop.learner, hop.had_us, hop.learnt_us)
        yield from outages(index, hop.had_us, hop.received_us or hop.learnt_us)


def _since_then(index: RunIndex, robot: str, part: int, since_us: int) -> Iterator[Step]:
    """The robot's lives after it had learnt the part; of many, their number."""
    deaths = [death for death, _ in index.deaths.get(robot, ()) if since_us <= ms_of(death.id) * 1000 <= index.end_us]
    if len(deaths) <= _LISTED:
        yield from life_steps(index, robot, since_us, index.end_us, f"its journal kept part {part}")
        return
    text = f"{robot} died {len(deaths)} times after that; its journal kept part {part}"
    yield Step(text, index.after_go_s(ms_of(deaths[0].id) * 1000), robot=robot)


def _origin(index: RunIndex, robot: str, part: int) -> Step:
    others = [name for name in index.dealt.get(part, ()) if name != robot]
    also = in_brackets(f"as {', '.join(others)} was" if len(others) == 1 else f"as {', '.join(others)} were")
    if robot in index.dealt.get(part, ()):
        return Step(f"{robot} was dealt part {part}{also if others else ''}", at_s=0.0, robot=robot)
    if index.learnt(robot, part) is None:
        return Step(f"{robot} knew part {part}; neither its journal nor its events show from whom", robot=robot)
    return Step(f"{robot} had part {part} from the start", at_s=0.0, robot=robot)


def _failures(index: RunIndex, hop: Hop) -> Iterator[Step]:
    """The exchanges of a hop that failed: each, or their number."""
    failed = [each for each in hop.failed if each.is_failure]
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
    if hop.way_us is not None:
        took_s = round((hop.way_us + hop.kept_us) / 1e6, 3)
        text += f", {seconds(hop.way_us)} on its way{in_brackets(', '.join(hop.faults))}{lag_text(hop.lag_us)}"
        text += f"; {hop.learner} merged it only {seconds(hop.kept_us)} after it had come" * (hop.kept_us > 0)
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
