"""Robots × parts: for each robot its state, which parts it holds, what it receives, and in which life it is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final, NamedTuple

from telemetry.drawing.line import Fragment, Line, Size, Tone, block, fitted, line, toned, under_cursor, visible
from telemetry.drawing.marks import TONES, Marks
from telemetry.drawing.moment import Moment
from telemetry.phrases import bitmap_of_parts, counted
from telemetry.scene.scene import Scene
from telemetry.scene.states import TROUBLED, State, states_of

SORTS: Final = ("trouble first", "least held first", "by name")
"""What `Chosen.sort` means here, counted round."""

NARROWEST: Final = 40  # of one column of robots
_GAP: Final = "  "
_STATE: Final = 12  # mark, word and a blank
_SPARK: Final = 4  # seconds
_BUSY: Final = 8  # copies a second that fill a bar at least
_LIFE: Final = 5
_ROWS_FOR_LEGEND: Final = 15


class Listed(NamedTuple):
    """A robot, and its state."""

    name: str
    state: State


def listed(moment: Moment) -> list[Listed]:
    """The robots in the order in which they are shown, without those that a person does not want to see."""
    scene, _, chosen = moment
    robots = [Listed(name, state) for name, state in states_of(scene).items()]
    if chosen.is_only_trouble:
        robots = [robot for robot in robots if robot.state in TROUBLED]
    for word in chosen.filter.split():
        robots = [robot for robot in robots if word in robot.name or word in robot.state]
    sort = SORTS[chosen.sort % len(SORTS)]
    if sort == "trouble first":
        robots.sort(key=_rank)
    elif sort == "least held first":
        robots.sort(key=lambda robot: scene.held(robot.name).bit_count())
    return robots[::-1] if chosen.is_reversed else robots


def _rank(robot: Listed) -> int:
    """Trouble first, then who has something to learn."""
    if robot.state in TROUBLED:
        return 0
    return 1 if robot.state in ("gossiping", "unborn", "born") else 2


def parts_grid(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    """The panel, in as many columns as it needs and as there is room for."""
    robots = listed(moment)
    has_legend = size.height >= _ROWS_FOR_LEGEND
    capacity = max(1, size.height - 2 - has_legend)
    columns = max(1, min(size.width // (NARROWEST + len(_GAP)), -(-len(robots) // capacity)))
    width = (size.width - (columns - 1) * len(_GAP)) // columns
    layout = _layout(moment.scene, width)
    seen = visible(len(robots), moment.chosen.cursor, capacity * columns)
    rows = [fitted(_row(moment.scene, robots[place], layout, marks), width) for place in seen]
    shown = under_cursor(rows, moment.chosen.cursor - seen.start)
    top = [_title(moment, len(robots)), *[_legend(layout, marks)] * has_legend]
    if len(shown) < len(robots):
        top[0] = (*top[0], Fragment(f"  {len(shown)} shown, j k move", "news"))
    stacks = [[_heading(layout), *shown[first : first + capacity]] for first in range(0, capacity * columns, capacity)]
    blocks = [block(stack, Size(width, capacity + 1)) for stack in stacks]
    return block([*top, *map(_in_a_row, zip(*blocks, strict=True))], size)


def _in_a_row(lines: Sequence[Line]) -> Line:
    row = lines[0]
    for each in lines[1:]:
        row = (*row, Fragment(_GAP), *each)
    return row


class _Layout(NamedTuple):
    """How a row is laid out: the cells of a name, the digits of a count of parts, the bitmap of the parts a cell."""

    name: int
    digits: int
    masks: Sequence[int]


def _layout(scene: Scene, width: int) -> _Layout:
    """One part a cell, or, where they do not fit, several."""
    name = max((len(robot) for robot in scene.robots), default=3)
    digits = len(str(len(scene.holders)))
    room = max(4, width - (name + 1 + _STATE + 1 + digits + 1 + _SPARK + _LIFE))
    return _Layout(name, digits, _masks(sorted(scene.holders), room))


def _masks(parts: Sequence[int], room: int) -> list[int]:
    per_cell = -(-len(parts) // room) or 1
    return [bitmap_of_parts(parts[first : first + per_cell]) for first in range(0, len(parts), per_cell)]


def _row(scene: Scene, robot: Listed, layout: _Layout, marks: Marks) -> Line:
    held, own = scene.held(robot.name), scene.dealt.get(robot.name, 0)
    viewed = scene.view.robots.get(robot.name)
    life = viewed.incarnation if viewed else 0
    parts = _parts(held, own, layout.masks, marks)
    spark = marks.spark(scene.traffic.of(robot.name).received_lately(scene.now_us, _SPARK), _BUSY)
    return (
        Fragment(f"{robot.name:<{layout.name}} "),
        Fragment(f"{marks.states[robot.state]} {robot.state:<{_STATE - 2}}", TONES[robot.state]),
        *(parts if robot.state != "dead" else toned(tuple(parts), "dim")),
        Fragment(f" {held.bit_count():>{layout.digits}} "),
        Fragment(spark, "dim"),
        Fragment(f"{life:>{_LIFE}}" if life else " " * _LIFE, "bad" if life > 1 else "dim"),
    )


def _heading(layout: _Layout) -> Line:
    parts = f"{'parts':<{len(layout.masks) + layout.digits + 2}}"
    return line(Fragment(f"{'':<{layout.name}} {'  state':<{_STATE}}{parts}{'rx/s':<{_SPARK}}{'life':>{_LIFE}}", "dim"))


def _parts(held: int, own: int, masks: Sequence[int], marks: Marks) -> list[Fragment]:
    drawn = [_part(held, own, mask, marks) for mask in masks]
    return [Fragment("".join(each.text for each in run), tone) for tone, run in groupby(drawn, _tone)]


def _part(held: int, own: int, mask: int, marks: Marks) -> Fragment:
    has = (held & mask).bit_count()
    if not has:
        return Fragment(marks.missing, "dim")
    whole = mask.bit_count()
    if whole == 1:
        return Fragment(marks.own, "own") if own & mask else Fragment(marks.learnt, "learnt")
    return Fragment(marks.shades[-(-has * (len(marks.shades) - 1) // whole)], "learnt")


def _tone(fragment: Fragment) -> Tone:
    return fragment.tone


def _title(moment: Moment, robots: int) -> Line:
    chosen, everyone = moment.chosen, len(moment.scene.robots)
    counts = f" {robots}" if robots == everyone else f" {robots} of {everyone}"
    order = f", {SORTS[chosen.sort % len(SORTS)]}{', reversed' if chosen.is_reversed else ''}"
    return line(Fragment("ROBOTS", "title"), counts, Fragment(order, "dim"))


def _legend(layout: _Layout, marks: Marks) -> Line:
    """What the cells of a row mean."""
    per_cell = layout.masks[0].bit_count() if layout.masks else 1
    if per_cell > 1:
        return line(
            Fragment(f"a cell is {counted(per_cell, 'part')}, none to all: ", "dim"), Fragment(marks.shades, "learnt")
        )
    return line(
        Fragment("a part: ", "dim"),
        Fragment(f"{marks.own} dealt  ", "own"),
        Fragment(f"{marks.learnt} learnt  ", "learnt"),
        Fragment(f"{marks.missing} missing", "dim"),
    )
