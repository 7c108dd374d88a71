"""The lives of a robot as steps: births, deaths with what caused them, and how long it was away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from telemetry.diagnosis.causes import absence_of
from telemetry.events import (
    EvidenceLost,
    RobotFenced,
    RobotLeft,
    SupervisorStalled,
    WorkerCrashed,
    WorkerGaveUp,
    WorkerLeft,
    WorkerRestarted,
)
from telemetry.explanations.explanation import Step
from telemetry.explanations.run_index import RunIndex
from telemetry.phrases import seconds
from telemetry.record.rows import DeathRow, InjectionRow, ms_of

SILENT_TICKS: Final = 15
"""A robot that lives reports something more often than once in so many ticks, even one that mostly answers."""


_INJECTED: Final = {
    "pause": "was paused: its process stood still",
    "resume": "went on, after a pause",
    "restart": "was told to end, and to live on in a new process",
}
"""By verb, what an injection that is no death did to a process."""

_CONTRADICTED: Final = {"contradict": "was sent another word for a part that it was dealt"}
_MOST_OUTAGES: Final = 2  # of one process that are named


def life_steps(index: RunIndex, process: str, since_us: int, until_us: int, after_birth: str = "") -> Iterator[Step]:
    """Deaths of a robot, or of another process, in that time, each with its next birth, and pauses and restarts that
    were injected into it, in the order of time. `after_birth`: what is true of every next life."""
    lives = _lives(index, process, since_us, until_us, after_birth)
    injections = _injections(index, process, since_us, until_us, _INJECTED)
    yield from sorted([*lives, *injections], key=lambda step: step.at_s or 0.0)


def outages(index: RunIndex, since_us: int, until_us: int) -> Iterator[Step]:
    """What happened to the server and to the relays in that time."""
    for process in ("redis", *sorted(name for name in index.processes if name.startswith("relay:"))):
        steps = list(life_steps(index, process, since_us, until_us))
        yield from steps[:_MOST_OUTAGES]
        if len(steps) > _MOST_OUTAGES:
            yield Step(f"and {len(steps) - _MOST_OUTAGES} times more", steps[_MOST_OUTAGES].at_s)


def stalls(index: RunIndex, since_us: int, until_us: int) -> Iterator[Step]:
    """When the leader of the run stood still in that time, by its own reports."""
    for stamped in index.history.events:
        if isinstance(stamped.event, SupervisorStalled):
            began_us = stamped.wall_us - stamped.event.stalled_us
            if began_us <= until_us and since_us <= stamped.wall_us:
                yield _span_step(
                    index, f"{stamped.source}, the leader of the run, took no step", began_us, stamped.wall_us
                )


def dated(step: Step) -> str:
    """The text of a step for the middle of another one: with its time."""
    return step.text if step.took_s is not None or step.at_s is None else f"{step.text}, at {step.at_s:.3f} s"


def _lives(index: RunIndex, process: str, since_us: int, until_us: int, after_birth: str) -> Iterator[Step]:
    for death, injection in index.deaths.get(process, ()):
        at_us = ms_of(death.id) * 1000
        if not since_us <= at_us <= until_us:
            continue
        text = _death_text(_shown(process), death, injection)
        yield Step(text, index.after_go_s(at_us), robot=death.robot, life=death.incarnation)
        birth = index.born_after(process, death.incarnation, at_us)
        if birth is not None and birth[1] <= until_us:
            life, born_us = birth
            also = f"; {after_birth}" if after_birth else ""
            text = f"{process} lived again, as life {life}, after {seconds(born_us - at_us)}{also}"
            yield Step(text, index.after_go_s(born_us), robot=process, life=life)


def _injections(
    index: RunIndex, process: str, since_us: int, until_us: int, verbs: Mapping[str, str]
) -> Iterator[Step]:
    """What was injected into a process, and was no death."""
    robot = process if process in index.robots else ""
    rows = index.injections.get(process, [])
    ended = _pauses(index, process)
    for row in rows:
        at_us, until = index.injected_us(row), ended.get(row.id)
        if row.verb not in verbs or row.id in {resume.id for resume in ended.values()}:
            continue
        if until is not None and at_us <= until_us and since_us <= index.injected_us(until):
            why = f": its process stood still (injected: {row.verb} {row.target})"
            yield _span_step(index, f"{_shown(process)} was paused", at_us, index.injected_us(until), why, robot)
        elif until is None and since_us <= at_us <= until_us:
            text = f"{_shown(process)} {verbs[row.verb]} (injected: {row.verb} {row.target})"
            yield Step(text, index.after_go_s(at_us), robot=robot)


def _pauses(index: RunIndex, process: str) -> dict[str, InjectionRow]:
    """By id, each pause of a process that was ended, with the `resume` that ended it. A death in between ends none."""
    ended: dict[str, InjectionRow] = {}
    pause: InjectionRow | None = None
    died = sorted(ms_of(death.id) for death, _ in index.deaths.get(process, ()))
    for row in index.injections.get(process, ()):
        if row.verb == "pause":
            pause = row
        elif row.verb == "resume" and pause is not None:
            if not any(ms_of(pause.id) <= at <= ms_of(row.id) for at in died):
                ended[pause.id] = row
            pause = None
    return ended


def _span_step(index: RunIndex, text: str, began_us: int, ended_us: int, why: str = "", robot: str = "") -> Step:
    """Something that lasted, with its beginning and its end in the text."""
    at_s, end_s = index.after_go_s(began_us), index.after_go_s(ended_us)
    took_us = ended_us - began_us
    span = f"from {at_s:.3f} s to {end_s:.3f} s, for {seconds(took_us)}"
    return Step(f"{text} {span}{why}", at_s, round(took_us / 1e6, 3), robot=robot)


def _shown(process: str) -> str:
    return "the server" if process == "redis" else process


def life_story(index: RunIndex, robot: str) -> Iterator[Step]:
    """All that happened to the robot's process and to its workers, in the order of time."""
    contradicted = _injections(index, robot, 0, index.end_us, _CONTRADICTED)
    steps = [*life_steps(index, robot, 0, index.end_us), *contradicted, *_events(index, robot)]
    yield from sorted(steps, key=lambda step: step.at_s or 0.0)
    for worker in sorted(_crashed_at_the_end(index, robot)):
        text = f"{robot}'s {worker} has not reported to run again since its crash, until the end"
        yield Step(text, index.after_go_s(index.end_us), robot=robot)
    yield from _silence(index, robot)


def _crashed_at_the_end(index: RunIndex, robot: str) -> set[str]:
    """The workers that crashed, and have not reported to run again."""
    viewed = index.view.robots.get(robot) if any(index.reported(robot, WorkerCrashed)) else None
    return set(viewed.crashed) if viewed else set()


def _silence(index: RunIndex, robot: str) -> Iterator[Step]:
    """For how long a robot that lived at the end had reported nothing, if that was too long."""
    own = (each for each in index.reported(robot) if not isinstance(each.event, RobotLeft | WorkerLeft))
    reported_us = max((each.wall_us for each in own if each.wall_us <= index.end_us), default=0)
    silent_us = index.end_us - reported_us
    if reported_us and silent_us > SILENT_TICKS * index.tick_us and state_at_the_end(index, robot) == "lived":
        text = f"{robot} reported nothing any more from here on, for {seconds(silent_us)} until the end"
        yield Step(text, index.after_go_s(reported_us), robot=robot)


def state_at_the_end(index: RunIndex, robot: str) -> str:
    """How the robot was when the run ended, after its name: `lived`, `lost its journal` …"""
    viewed = index.view.robots.get(robot)
    if index.robots[robot].is_lost:
        return "lost its journal"
    if viewed is None:
        waits = "waits for an RQ worker, and " if robot in index.view.unborn else ""
        return f"{waits}was never born"
    if viewed.state == "alive" and not viewed.is_paused:
        return "lived"
    return absence_of(viewed)


def _events(index: RunIndex, robot: str) -> Iterator[Step]:
    kinds = (EvidenceLost, RobotFenced, RobotLeft, WorkerCrashed, WorkerGaveUp, WorkerRestarted)
    crashed = _crashed_at_the_end(index, robot)
    for stamped in index.reported(robot, *kinds):
        if stamped.wall_us > index.end_us:
            continue
        text = _event_text(robot, stamped.event)
        if text and not (isinstance(stamped.event, WorkerRestarted) and stamped.event.worker not in crashed):
            yield Step(text, index.after_go_s(stamped.wall_us), robot=robot, life=stamped.incarnation)


def _event_text(robot: str, event: object) -> str:
    match event:
        case EvidenceLost(stream):
            return f"{robot} found that its {stream} was gone"
        case RobotFenced(where):
            return f"{robot} found a later life of its own ({where}), and ended"
        case RobotLeft("recalled"):
            return f"{robot} was recalled, to live on elsewhere"
        case WorkerCrashed(worker, error):
            return f"{robot}'s {worker} crashed: {error}"
        case WorkerRestarted(worker, _, delay_us):
            return f"{robot}'s {worker} was to be started again after {seconds(delay_us)}"
        case WorkerGaveUp(worker, crashes):
            return f"{worker} crashed {crashes} times, and is not started again"
    return ""


def _death_text(robot: str, death: DeathRow, injection: InjectionRow | None) -> str:
    ends = {
        "silent": "fell silent, and was killed by its RQ worker",
        "lease": "lost its RQ worker: the lease of its job ran out",
        "signal": f"was killed by signal {-death.status}",
    }
    end = ends.get(death.how, f"ended with status {death.status}")
    who = f"{robot}/{death.incarnation}" if death.incarnation else robot
    if injection is None:
        return f"{who} {end}; no injection caused it"
    return f"{who} {end} (injected: {injection.verb} {injection.target})"
