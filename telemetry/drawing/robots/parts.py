"""The parts of one robot: which it holds, who taught it which and when, what it lacks, and who holds that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from telemetry.drawing.line import EMPTY, Fragment, Line, Size, block, line
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Moment
from telemetry.drawing.table import after_go, cell
from telemetry.phrases import counted, named_parts, named_robots
from telemetry.scene.scene import Scene

_LESSON: Final = 38  # cells of one lesson
_MOST_LACKED: Final = 5  # lines about parts that it lacks
_MOST_TEACHERS: Final = 8


def draw(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    """The tab."""
    scene, robot = moment.scene, moment.chosen.robot
    above = [
        *_bars(scene, robot, size.width, marks),
        EMPTY,
        *_lacked(scene, robot),
        EMPTY,
        _teachers(scene, robot),
        EMPTY,
    ]
    lessons = _lessons(moment, size.width)
    room = max(1, size.height - len(above) - 1)
    first = max(0, min(moment.chosen.cursor, len(lessons) - room))
    count = len(scene.teaching.lessons.get(robot, {}))
    shown = lessons[first : first + room]
    title = line(
        Fragment("WHO TAUGHT IT WHAT, AND WHEN ", "title"),
        Fragment(f"{counted(count, 'part')}; lines {first + 1}..{first + len(shown)} of {len(lessons)}", "dim"),
    )
    return block([*above, title if lessons else line(Fragment("It was taught nothing yet.", "dim")), *shown], size)


def rows(moment: Moment) -> Sequence[str]:
    """Lines of lessons: as many as a narrow page needs."""
    lessons = moment.scene.teaching.lessons.get(moment.chosen.robot, {})
    return [str(part) for part in sorted(lessons)]


def _bars(scene: Scene, robot: str, width: int, marks: Marks) -> list[Line]:
    """One letter a part, in lines that fit."""
    own, held = scene.dealt.get(robot, 0), scene.held(robot)
    letters: list[Fragment] = []
    for part in range(len(scene.holders)):
        if own >> part & 1:
            letters.append(Fragment(marks.own, "own"))
        elif held >> part & 1:
            letters.append(Fragment(marks.learnt, "learnt"))
        else:
            letters.append(Fragment(marks.missing, "dim"))
    legend = line(
        Fragment("PARTS ", "title"),
        Fragment(f"{marks.own} dealt {own.bit_count()}  ", "own"),
        Fragment(f"{marks.learnt} learnt {(held & ~own).bit_count()}  ", "learnt"),
        Fragment(f"{marks.missing} lacked {len(scene.holders) - held.bit_count()}", "dim"),
    )
    return [legend, *(tuple(letters[start : start + width]) for start in range(0, len(letters), width))][:4]


def _lacked(scene: Scene, robot: str) -> list[Line]:
    """What it lacks, parts with the same holders together."""
    held = scene.held(robot)
    lacked = [part for part in scene.holders if not held >> part & 1]
    if not lacked:
        return [line(Fragment("It lacks nothing.", "good"))]
    by_holders: dict[tuple[str, ...], list[int]] = {}
    for part in lacked:
        by_holders.setdefault(_holders(scene, part), []).append(part)
    lines = [_lacked_line(scene, parts, holders) for holders, parts in by_holders.items()]
    more = len(lines) - _MOST_LACKED
    return lines[:_MOST_LACKED] + [line(Fragment(f"and {counted(more, 'line')} more like these", "dim"))] * (more > 0)


def _lacked_line(scene: Scene, parts: list[int], holders: tuple[str, ...]) -> Line:
    living = [robot for robot in holders if _lives(scene, robot)]
    lacks = Fragment(f"lacks {named_parts(parts)}: ", "news")
    if living:
        return line(lacks, f"held by {named_robots(living)}")
    if not holders:
        return line(lacks, Fragment("no robot is known to hold it", "bad"))
    return line(lacks, Fragment(f"no living robot holds it, only {named_robots(holders)}", "bad"))


def _holders(scene: Scene, part: int) -> tuple[str, ...]:
    return tuple(robot for robot in scene.robots if scene.held(robot) >> part & 1)


def _lives(scene: Scene, robot: str) -> bool:
    seen = scene.view.robots.get(robot)
    return seen is not None and seen.state == "alive"


def _teachers(scene: Scene, robot: str) -> Line:
    lessons = scene.teaching.lessons.get(robot, {})
    if not lessons:
        return EMPTY
    taught = Counter(lesson.sender for lesson in lessons.values()).most_common()
    first = min(lessons.values(), key=lambda lesson: lesson.at_us)
    named = ", ".join(f"{sender} {count}" for sender, count in taught[:_MOST_TEACHERS])
    more = f" and {len(taught) - _MOST_TEACHERS} more" * (len(taught) > _MOST_TEACHERS)
    return line(
        Fragment("TEACHERS ", "title"),
        f"{named}{more}",
        Fragment(f"   the first: {first.sender}, {after_go(first.at_us, scene.go_us)} after go", "dim"),
    )


def _lessons(moment: Moment, width: int) -> list[Line]:
    """In order of time, as many beside each other as fit."""
    scene = moment.scene
    lessons = sorted(
        scene.teaching.lessons.get(moment.chosen.robot, {}).values(), key=lambda each: (each.at_us, each.part)
    )
    cells = []
    for lesson in lessons:
        life = f"/{lesson.incarnation}" if lesson.incarnation > 1 else ""
        cells.append(
            cell(
                f"part {lesson.part:<4} by {lesson.sender + life:<7} {after_go(lesson.at_us, scene.go_us):>9}", _LESSON
            )
        )
    beside = max(1, width // _LESSON)
    return [tuple(cells[start : start + beside]) for start in range(0, len(cells), beside)]
