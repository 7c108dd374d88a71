"""Who restarts whom, as a tree: the run, its supervisor, relays, server and robots, and what is inside a robot.

Robots to which nothing happened are one line; trouble is never folded, and neither is a robot that had some.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from telemetry.drawing.line import Fragment, Line, Tone, line
from telemetry.drawing.marks import TONES, Marks
from telemetry.drawing.moment import Moment
from telemetry.drawing.supervision.restarts import WORKERS, charged, worker_state
from telemetry.drawing.table import ago
from telemetry.phrases import counted, named_robots, seconds
from telemetry.scene.processes.lifelines import SERVER, SUPERVISOR
from telemetry.scene.processes.stretches import Stretch
from telemetry.scene.processes.workers import NEVER_CRASHED
from telemetry.scene.scene import Scene
from telemetry.scene.states import State, states_of

FOLDED: Final = "robots without trouble"
"""The row that stands for the robots that are folded."""

RECENT_US: Final = 5_000_000
"""For so long the row of a robot says what happened to it."""

_LEVELS: Final = ("robots without trouble are one line", "all robots", "all robots and their workers")


class Node(NamedTuple):
    """A row. `process`: its line in the timeline, empty: none; `name`: what the cursor finds there."""

    name: str
    process: str
    words: Line


def level_text(tab: int) -> str:
    """How much is unfolded."""
    return _LEVELS[tab % len(_LEVELS)]


def nodes(moment: Moment, marks: Marks) -> list[Node]:
    """The rows, in order."""
    return [
        _run(moment),
        *_fleet(moment.scene, marks),
        *_robots(moment, marks),
    ]


def _run(moment: Moment) -> Node:
    settings = moment.scene.settings
    ended = moment.scene.view.stopped
    word = "goes on" if ended is None else f"ended: {ended}"
    words = line(Fragment(f"run {settings.run} ", "title"), Fragment(f"{word}", "dim" if ended else "good"))
    return Node(f"run {settings.run}", "", words)


def _fleet(scene: Scene, marks: Marks) -> Iterator[Node]:
    is_simulated = scene.settings.mode == "simulated"
    leads = scene.lifelines.lines.get(SUPERVISOR)
    unknown = "simulated" if is_simulated else "not heard of yet"
    yield _process(SUPERVISOR, "supervisor", leads, unknown, marks)
    for shard in range(scene.settings.shards):
        name = f"relay:{shard}"
        lag_us = scene.network.lag_us[shard] if shard < len(scene.network.lag_us) else None
        lag = "" if lag_us is None else f", lag {seconds(lag_us)}"
        yield _process(name, name, scene.lifelines.lines.get(name), "not heard of yet", marks, lag)
    unknown = "runs" if is_simulated else "not started by this run"
    yield _process(SERVER, "server", scene.lifelines.lines.get(SERVER), unknown, marks)


def _process(
    process: str, name: str, stretches: Sequence[Stretch] | None, unknown: str, marks: Marks, also: str = ""
) -> Node:
    if not stretches:
        dot = Fragment(f"{marks.missing} ", "dim")
        return Node(process, process, line(_branch(marks), dot, f"{name:<11}", Fragment(unknown, "dim")))
    last = stretches[-1]
    is_up = last.condition in ("up", "complete")
    words = _word(last, also if is_up else "")
    mark = marks.states["complete"] if is_up else marks.states["paused" if last.condition == "paused" else "dead"]
    tone: Tone = "good" if is_up else "dim" if last.condition == "left" else "bad"
    return Node(
        process, process, line(_branch(marks), Fragment(f"{mark} ", tone), f"{name:<11}", Fragment(words, tone))
    )


def _word(last: Stretch, also: str) -> str:
    if last.condition in ("up", "complete"):
        return f"{last.why or 'runs'}{also}"
    return f"{last.condition}: {last.why}"


def _robots(moment: Moment, marks: Marks) -> Iterator[Node]:
    scene, level = moment.scene, moment.chosen.tab % len(_LEVELS)
    folded: list[str] = []
    for robot, state in states_of(scene).items():
        if moment.chosen.filter and moment.chosen.filter not in f"{robot} {state}":
            continue
        is_bad = _is_in_trouble(scene, robot, state)
        if level == 0 and not is_bad:
            folded.append(robot)
        elif is_bad or not moment.chosen.is_only_trouble:
            yield Node(robot, robot, _robot(scene, robot, state, marks))
            is_open = level == 2 or _has_crashed_worker(scene, robot)
            yield from _inside(scene, robot, marks) if is_open else _rq_worker(scene, robot, marks)
    if folded:
        words = f"{len(folded)} without trouble: {named_robots(folded)}"
        if len(folded) == len(scene.robots):
            words = f"all {len(folded)} without trouble: {named_robots(folded)}"
        yield Node(FOLDED, "", line(_branch(marks), Fragment(f"{marks.states['complete']} ", "good"), words))


def _is_in_trouble(scene: Scene, robot: str, state: State) -> bool:
    """Now, or earlier in the run: its timeline shows when."""
    if TONES[state] == "bad" or _has_crashed_worker(scene, robot) or any(charged(scene, robot)):
        return True
    if f"rq:{robot}" in scene.lifelines.lines or _unusual(scene, robot):
        return True
    return bool(scene.lifelines.notes.get(robot)) or any(
        each.condition not in ("up", "complete", "left") for each in scene.lifelines.lines.get(robot, ())
    )


def _unusual(scene: Scene, robot: str) -> str:
    """The rules of the anomalies of a robot that stand."""
    return ", ".join(rule for rule, about in scene.anomalies if about == robot)


def _lately(scene: Scene, robot: str) -> str:
    """What happened to it a short while ago, and how long ago that was; empty if nothing did."""
    ends = [each for each in scene.lifelines.lines.get(robot, ()) if each.condition in ("down", "paused", "waiting")]
    notes = scene.lifelines.notes.get(robot, ())
    lately = [*((each.from_us, each.why) for each in ends[-1:]), *((note.at_us, note.text) for note in notes[-1:])]
    at_us, what = max(lately, default=(0, ""))
    return f"{what} {ago(at_us, scene.now_us)} ago" if at_us > scene.now_us - RECENT_US else ""


def _has_crashed_worker(scene: Scene, robot: str) -> bool:
    return any(not each.is_running for each in scene.workers.robots.get(robot, {}).values())


def _robot(scene: Scene, robot: str, state: State, marks: Marks) -> Line:
    seen, own = scene.view.robots.get(robot), scene.lifelines.lines.get(robot, ())
    life = f" life {seen.incarnation}" if seen else ""
    is_away = bool(own) and own[-1].condition in ("down", "paused", "waiting", "dead")
    lately = _lately(scene, robot)
    unusual = _unusual(scene, robot)
    unusual = f"; unusual: {unusual}" if unusual else ""
    why = f": {own[-1].why}" if is_away else f"{unusual}; {lately}" if lately else unusual
    deaths, crashes = charged(scene, robot)
    budget = (
        f"; charged: {counted(deaths, 'death')}, {counted(crashes, 'crash', 'crashes')}" if deaths or crashes else ""
    )
    tone = TONES[state]
    mark = Fragment(f"{marks.states[state]} ", tone)
    return line(_branch(marks), mark, f"{robot}", Fragment(f"{life} ", "dim"), Fragment(f"{state}{why}{budget}", tone))


def _rq_worker(scene: Scene, robot: str, marks: Marks) -> Iterator[Node]:
    """The RQ worker of a robot, once something happened to it."""
    rq_worker = scene.lifelines.lines.get(f"rq:{robot}")
    if rq_worker:
        is_up = rq_worker[-1].condition == "up"
        words = f"RQ worker {_word(rq_worker[-1], '')}"
        yield Node(robot, f"rq:{robot}", line(_twig(marks), Fragment(words, "good" if is_up else "bad")))


def _inside(scene: Scene, robot: str, marks: Marks) -> Iterator[Node]:
    """Its RQ worker, if anything is known of it, and its workers."""
    yield from _rq_worker(scene, robot, marks)
    states = scene.workers.robots.get(robot, {})
    for name in (*WORKERS, *(name for name in states if name not in WORKERS)):
        worker = states.get(name, NEVER_CRASHED)
        word, tone = worker_state(worker, scene, robot)
        crashes = f"  crashed {worker.crashes}x" if worker.crashes else ""
        yield Node(robot, "", line(_twig(marks), f"{name:<21}", Fragment(f"{word}{crashes}", tone)))


def _branch(marks: Marks) -> Fragment:
    return Fragment("|- " if marks.is_ascii else "├─ ", "dim")


def _twig(marks: Marks) -> Fragment:
    return Fragment("|  |- " if marks.is_ascii else "│  ├─ ", "dim")
