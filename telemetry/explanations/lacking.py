"""Why a robot lacks a part: who holds it, what lies between them, and every exchange that could have brought it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from telemetry.events import MessageSent
from telemetry.explanations.attempts import TaughtNothing, attempt_steps, attempts, due_us_of, summed_up
from telemetry.explanations.explanation import Section, Step, section
from telemetry.explanations.lives import life_story, state_at_the_end
from telemetry.explanations.run_index import Address, RunIndex
from telemetry.phrases import counted, in_brackets, named_robots, share
from telemetry.record.rows import FateRow, ms_of

_LISTED: Final = 12  # attempts; of more, those that ended alike are one step


def why_lacking(index: RunIndex, robot: str, part: int) -> str:
    """The reason in one line, as a sentence about the robot."""
    state = state_at_the_end(index, robot)
    if state != "lived":
        return f"{robot} {state}"
    for cause in index.diagnosis:
        if part in cause.parts and (robot in cause.robots or cause.key.startswith("gone")):
            return cause.text
    failed = all_attempts(index, robot, part)
    when = "so far" if index.stop_us is None else "until the run was stopped"
    if summary := summed_up(failed, f"between {robot} and those that held it"):
        return f"{when}, {summary}"
    if failed:
        return f"{robot} had {len(failed)} exchanges with those that held it, and none brought it {when}"
    if next(index.reported(robot, MessageSent), None) is None:
        return f"{robot} sent no message at all {when}"
    return f"{robot} had no exchange with a robot that held it {when}"


def lacking_sections(index: RunIndex, robot: str, part: int) -> tuple[Section, ...]:
    """Who holds the part, the attempts that failed, and the robot's own lives."""
    return (
        *section(f"who holds part {part}", _holder_steps(index, robot, part)),
        *section("exchanges that did not bring it", _attempts(index, all_attempts(index, robot, part))),
        *section(f"the lives of {robot}", life_story(index, robot)),
    )


def all_attempts(index: RunIndex, robot: str, part: int) -> list[TaughtNothing]:
    """The exchanges between the robot and those that held the part by then, in order."""
    found = []
    for holder in holders(index, part):
        had_us = index.learnt_us(holder, part) or index.go_us or 0
        if holder != robot:
            found += attempts(index, robot, holder, had_us, index.end_us)
    return sorted(found, key=lambda attempt: attempt.begun_us)


def holders(index: RunIndex, part: int) -> list[str]:
    """The robots that ever held the part: it stands in their journals, or they lost theirs, and were dealt the part or
    had reported it."""
    held = [name for name, robot in index.robots.items() if part in robot.parts]
    return held + [name for name in index.robots if name not in held and index.learnt(name, part) is not None]


def _holder_steps(index: RunIndex, robot: str, part: int) -> Iterator[Step]:
    for holder in holders(index, part):
        if holder == robot:
            continue
        state = state_at_the_end(index, holder)
        had_us = index.learnt_us(holder, part)
        got = "was dealt it" if holder in index.dealt.get(part, ()) else "learnt it"
        at_s = None if had_us is None else index.after_go_s(had_us)
        also = f", but {state}" if state != "lived" else _reach(index, robot, holder, had_us)
        faults = (*index.links.losing(robot, holder), *index.links.losing(holder, robot))
        yield Step(f"{holder} {got}{also}", at_s=at_s, robot=holder, faults=tuple(dict.fromkeys(faults)))


def _reach(index: RunIndex, robot: str, holder: str, had_us: int | None) -> str:
    """Whether a robot that lacks a part could exchange with a living holder, and what arrived."""
    state = state_at_the_end(index, robot)
    if state != "lived":
        return f"; at the end {robot} {state}" if state.startswith(("is", "was", "has")) else f"; {robot} {state}"
    way = _way(index, robot, holder)
    if not _is_open(index, robot, holder):
        return f"; at the end {way}"
    return f"; at the end {way}{_arrived(index, robot, holder, had_us or index.go_us or 0)}"


def _arrived(index: RunIndex, robot: str, holder: str, since_us: int) -> str:
    """How much arrived since the holder had the part, where less than half did."""
    texts = []
    for sender, receiver in ((robot, holder), (holder, robot)):
        rows = _envelopes(index, sender, receiver, since_us)
        came = [address for address, row in rows if (due_us := due_us_of(row)) is not None and due_us <= index.end_us]
        if rows and len(came) * 2 < len(rows):
            empty = f", {_none_of(len(came))} with a part" * (bool(came) and not _with_parts(index, came))
            texts.append(f"{len(came)} of {counted(len(rows), 'envelope')} from {sender} to {receiver} arrived{empty}")
    return "".join(f"; {text}" for text in texts)


def _envelopes(index: RunIndex, sender: str, receiver: str, since_us: int) -> list[tuple[Address, FateRow]]:
    until_us = index.end_us
    found = (each for each in index.fates.items() if (each[0][0], each[0][2]) == (sender, receiver))
    return [(address, row) for address, row in found if since_us <= ms_of(row.id) * 1000 <= until_us]


def _with_parts(index: RunIndex, addresses: list[Address]) -> bool:
    """Whether one of them brought a part, or is not known to have brought none."""
    events = [index.sendings[address].event if address in index.sendings else None for address in addresses]
    return any(not isinstance(event, MessageSent) or event.parts > 0 for event in events)


def _none_of(count: int) -> str:
    return "but not" if count == 1 else "none of them"


def _attempts(index: RunIndex, found: list[TaughtNothing]) -> Iterator[Step]:
    """Each attempt; where there are many, those with one peer that ended alike as one step, with their number."""
    if len(found) <= _LISTED:
        yield from attempt_steps(index, found)
        return
    groups: dict[tuple[object, ...], list[TaughtNothing]] = {}
    for each in found:
        groups.setdefault((each.initiator, each.peer, each.stage, each.sender, each.fate), []).append(each)
    for alike in groups.values():
        if len(alike) == 1:
            yield from attempt_steps(index, alike)
        else:
            yield _together(index, alike)


def _together(index: RunIndex, alike: list[TaughtNothing]) -> Step:
    first = alike[0]
    faults = Counter(fault for each in alike for fault in each.faults)
    shown = in_brackets(", ".join(fault for fault, _ in faults.most_common()))
    begun = f"{first.initiator} began {len(alike)} exchanges with {first.peer}, first {first.exchange}, the last at"
    return Step(
        f"{begun} {index.after_go_s(alike[-1].begun_us):.3f} s: {_end_of(first)}{shown}",
        index.after_go_s(first.begun_us),
        robot=first.initiator,
        exchange=first.exchange,
        faults=tuple(fault for fault, _ in faults.most_common()),
    )


def _end_of(attempt: TaughtNothing) -> str:
    """How each of several attempts ended."""
    if attempt.stage == "none":
        return "all messages came, and did not bring it"
    message = f"the {attempt.stage} of {attempt.sender}"
    ends = {
        "lost": "was lost each time",
        "corrupt": "came damaged each time",
        "stale": "was not delivered, because a later life of its sender had been born",
        "held": "was held back until the end",
        "late": "came late, or not until the end",
        "unsent": "was not sent",
    }
    return f"{message} {ends.get(attempt.fate, f'was not sent, because {attempt.fate}')}"


def _way(index: RunIndex, robot: str, holder: str) -> str:
    """Whether the two could exchange under the plan in force at the end, and if not, who could have passed it on."""
    out, back = index.links.blocking(robot, holder), index.links.blocking(holder, robot)
    faults = in_brackets(", ".join(dict.fromkeys((*out, *back))))
    if not out and not back:
        lost = 1 - (1 - index.links.lost(robot, holder)) * (1 - index.links.lost(holder, robot))
        losing = ", ".join(dict.fromkeys((*index.links.losing(robot, holder), *index.links.losing(holder, robot))))
        if not lost:
            return "nothing was lost between them by a fault"
        return f"no way between them was blocked, but {share(lost)} of exchanges fail there{in_brackets(losing)}"
    if out and back:
        way = f"nothing passed between them{faults}"
    elif out:
        way = f"nothing from {robot} reached {holder}{faults}"
    else:
        way = f"nothing from {holder} reached {robot}{faults}"
    between = _intermediaries(index, robot, holder)
    return f"{way}; {named_robots(between)} could pass it on" if between else f"{way}, and no robot could pass it on"


def _intermediaries(index: RunIndex, robot: str, holder: str) -> list[str]:
    """Living robots that could exchange with both."""
    others = [name for name in index.robots if name not in (robot, holder) and state_at_the_end(index, name) == "lived"]
    return [name for name in others if _is_open(index, robot, name) and _is_open(index, name, holder)]


def _is_open(index: RunIndex, one: str, other: str) -> bool:
    return not index.links.blocking(one, other) and not index.links.blocking(other, one)
