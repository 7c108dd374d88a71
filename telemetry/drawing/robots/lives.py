"""The lives of one robot, how each ended, the workers inside it, and what of its restart budget is used."""

from __future__ import annotations

from collections.abc import Sequence

from telemetry.drawing.line import EMPTY, Fragment, Line, Size, Tone, block, line, scrolled
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Moment
from telemetry.drawing.supervision.restarts import WORKERS, budget_text, worker_state
from telemetry.drawing.table import after_go, ago, cell, list_title, window
from telemetry.phrases import seconds
from telemetry.scene.processes.stretches import LifeSpan, lives_of
from telemetry.scene.processes.workers import NEVER_CRASHED
from telemetry.scene.scene import Scene


def draw(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    """The tab."""
    scene, robot = moment.scene, moment.chosen.robot
    inside = [*_workers(scene, robot, marks), EMPTY, *_notes(moment, 3)]
    lives = lives_of(scene.lifelines.lines.get(robot, ()))[::-1]
    head = line(
        cell("LIFE", 5, "dim", True), "  ", cell("BORN", 10, "dim", True), cell("COMPLETE", 11, "dim", True),
        cell("ENDED", 10, "dim", True), cell("LASTED", 9, "dim", True), "  ", Fragment("HOW IT ENDED", "dim"),
    )  # fmt: skip
    room = max(1, size.height - len(inside) - 3)
    shown, cursor = window(len(lives), moment.chosen.cursor, room)
    drawn = [_life(each, scene) for each in lives[shown]]
    title = list_title("LIVES", len(drawn), len(lives), "the newest first")
    return block([title, head, *scrolled(drawn, cursor, room)[0], EMPTY, *inside], size)


def rows(moment: Moment) -> Sequence[str]:
    """Its lives, by number, the newest first."""
    return [str(life.number) for life in lives_of(moment.scene.lifelines.lines.get(moment.chosen.robot, ()))[::-1]]


def _life(life: LifeSpan, scene: Scene) -> Line:
    ended_us = life.ended_us or scene.now_us
    tone: Tone = "good" if life.ended_us is None else "" if "the run ended" in life.how else "bad"
    complete = "-" if life.complete_us is None else after_go(life.complete_us, scene.go_us)
    return line(
        cell(str(life.number), 5, "", True),
        "  ",
        cell(after_go(life.born_us, scene.go_us), 10, "", True),
        cell(complete, 11, "", True),
        cell("-" if life.ended_us is None else after_go(life.ended_us, scene.go_us), 10, "", True),
        cell(seconds(ended_us - life.born_us), 9, "", True),
        "  ",
        Fragment(life.how or "goes on", tone),
    )


def _workers(scene: Scene, robot: str, marks: Marks) -> list[Line]:
    states = scene.workers.robots.get(robot, {})
    names = [*WORKERS, *(name for name in states if name not in WORKERS)]
    head = line(Fragment("WORKERS ", "title"), Fragment("each is restarted alone", "dim"))
    lines = [line(Fragment("BUDGET ", "title"), budget_text(scene, robot)), EMPTY, head]
    for name in names:
        worker = states.get(name, NEVER_CRASHED)
        word, tone = worker_state(worker, scene, robot)
        mark = marks.full if tone != "bad" else "!"
        crashes = f"  crashed {worker.crashes}x" if worker.crashes else ""
        last = f", the last {ago(worker.crashed_us, scene.now_us)} ago: {worker.error}" if worker.crashed_us else ""
        lines.append(line(Fragment(f"  {mark} ", tone), cell(name, 21), Fragment(f"{word}{crashes}{last}", tone)))
    return lines


def _notes(moment: Moment, most: int) -> list[Line]:
    scene = moment.scene
    notes = scene.lifelines.notes.get(moment.chosen.robot, ())
    if not notes:
        return []
    return [
        list_title("ALSO", min(most, len(notes)), len(notes)),
        *(line(cell(after_go(note.at_us, scene.go_us), 10, "dim", True), f"  {note.text}") for note in notes[-most:]),
    ]
