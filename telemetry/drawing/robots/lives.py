"""The lives of one robot, how each ended, the workers inside it, and what of its restart budget is used."""

from __future__ import annotations

from collections.abc import Sequence

from telemetry.drawing.line import EMPTY, Fragment, Line, Size, Tone, block, line, scrolled
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Moment
from telemetry.drawing.restart_words import WORKERS, budget_text, worker_state
from telemetry.drawing.table import after_go, ago, cell, list_title
from telemetry.phrases import seconds
from telemetry.scene.scene import Scene
from telemetry.scene.stretches import Life, lives_of
from telemetry.scene.workers import NEVER_CRASHED


def draw(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    """The tab."""
    scene, robot = moment.scene, moment.chosen.robot
    inside = [*_workers(scene, robot, marks), EMPTY, *_notes(moment, 3)]
    lives = lives_of(scene.lifelines.lines.get(robot, ()))
    head = line(
        cell("LIFE", 5, "dim", True), "  ", cell("BORN", 10, "dim", True), cell("COMPLETE", 11, "dim", True),
        cell("ENDED", 10, "dim", True), cell("LASTED", 9, "dim", True), "  ", Fragment("HOW IT ENDED", "dim"),
    )  # fmt: skip
    drawn = [_life(each, scene) for each in lives]
    room = max(1, size.height - len(inside) - 3)
    cursor = len(drawn) - 1 if moment.chosen.is_following else moment.chosen.cursor
    shown, _ = scrolled(drawn, cursor, room)
    title = list_title("LIVES", len(shown), len(drawn))
    return block([title, head, *shown, EMPTY, *inside], size)


def rows(moment: Moment) -> Sequence[str]:
    """Its lives, by number."""
    return [str(life.number) for life in lives_of(moment.scene.lifelines.lines.get(moment.chosen.robot, ()))]


def _life(life: Life, scene: Scene) -> Line:
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
