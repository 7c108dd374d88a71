"""Why a robot lacks a part: who holds it, what lies between them, and every exchange that could have brought it."""

from __future__ import annotations

from collections.abc import Iterator

from telemetry.events import MessageSent
from telemetry.explanations.attempts import TaughtNothing, attempt_steps, attempts, summed_up
from telemetry.explanations.explanation import Section, Step, section
from telemetry.explanations.lives import life_story, state_at_the_end
from telemetry.explanations.run_index import RunIndex
from telemetry.phrases import in_brackets, named_robots


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
        *section("exchanges that did not bring it", attempt_steps(index, all_attempts(index, robot, part))),
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
    """The robots that ever held the part: it stands in their journals, or they were dealt it and lost theirs."""
    held = [name for name, robot in index.robots.items() if part in robot.parts]
    return held + [name for name in index.dealt.get(part, ()) if name not in held]


def _holder_steps(index: RunIndex, robot: str, part: int) -> Iterator[Step]:
    for holder in holders(index, part):
        if holder == robot:
            continue
        state = state_at_the_end(index, holder)
        had_us = index.learnt_us(holder, part)
        got = "was dealt it" if holder in index.dealt.get(part, ()) else "learnt it"
        at_s = None if had_us is None else index.after_go_s(had_us)
        way = _way(index, robot, holder) if state == "lived" else ""
        also = f", but {state}" if state != "lived" else f"; at the end {way}"
        faults = (*index.links.losing(robot, holder), *index.links.losing(holder, robot))
        yield Step(f"{holder} {got}{also}", at_s=at_s, robot=holder, faults=tuple(dict.fromkeys(faults)))


def _way(index: RunIndex, robot: str, holder: str) -> str:
    """Whether the two could exchange under the plan in force at the end, and if not, who could have passed it on."""
    out, back = index.links.blocking(robot, holder), index.links.blocking(holder, robot)
    faults = in_brackets(", ".join(dict.fromkeys((*out, *back))))
    if not out and not back:
        lost = 1 - (1 - index.links.lost(robot, holder)) * (1 - index.links.lost(holder, robot))
        losing = ", ".join(dict.fromkeys((*index.links.losing(robot, holder), *index.links.losing(holder, robot))))
        return (
            f"both ways between them were open{f', and {lost:.0%} of exchanges fail' * (lost > 0)}{in_brackets(losing)}"
        )
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
