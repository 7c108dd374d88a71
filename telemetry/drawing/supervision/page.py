"""The page of supervision: the tree at the left, the timeline of each of its processes at the right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from telemetry.drawing.line import EMPTY, Fragment, Line, Size, block, fitted, line, toned
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Moment
from telemetry.drawing.supervision.restarts import budget_text
from telemetry.drawing.supervision.timeline import legend, span_of, time_axis, timeline
from telemetry.drawing.supervision.tree import Node, level_text, nodes
from telemetry.drawing.table import list_title, window
from telemetry.verdict.checks.restart_policy import MOST_RESTARTS, WINDOW_US

_FOOT: Final = 3  # lines
_ANY: Final = Marks()


def draw(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    """The page."""
    tree, room = nodes(moment, marks), size.height - 2 - _FOOT
    places, cursor = window(len(tree), moment.chosen.cursor, room)
    shown = tree[places]
    left = _left_width(size.width)
    right = size.width - left - 3
    lines = [_row(node, moment, left, right, place == cursor, marks) for place, node in enumerate(shown)]
    axis = line(*fitted(EMPTY, left), "   ", *time_axis(moment.scene, span_of(moment.scene), right))
    body = block([_title(moment, len(shown), len(tree)), axis, *lines], Size(size.width, size.height - _FOOT))
    return [*body, *block(_foot(moment, shown[cursor], marks), Size(size.width, _FOOT))]


def rows(moment: Moment) -> Sequence[str]:
    """The processes of the tree, by name; a row inside a robot has the robot's."""
    return [node.name for node in nodes(moment, _ANY)]


def _left_width(width: int) -> int:
    return max(38, min(90, width * 11 // 24))


def _title(moment: Moment, shown: int, of: int) -> Line:
    return list_title("SUPERVISION", shown, of, f"rows   {level_text(moment.chosen.tab)}   [ ]: more or less")


def _row(node: Node, moment: Moment, left: int, right: int, is_chosen: bool, marks: Marks) -> Line:
    lifelines, words = moment.scene.lifelines, fitted(node.words, left)
    stretches, notes = lifelines.lines.get(node.process, ()), lifelines.notes.get(node.process, ())
    drawn = timeline(stretches, notes, span_of(moment.scene), right, marks)
    return (*(toned(words, "chosen") if is_chosen else words), Fragment(marks.divider, "dim"), *drawn)


def _foot(moment: Moment, node: Node, marks: Marks) -> list[Line]:
    """The row under the cursor in full, its budget or the policy, and what the letters mean."""
    scene = moment.scene
    if node.name in scene.robots:
        about = line(Fragment("BUDGET ", "title"), budget_text(scene, node.name))
    else:
        most = f"at most {MOST_RESTARTS} times in {WINDOW_US // 1_000_000} s (injected: free)"
        about = line(Fragment("POLICY ", "title"), f"what crashed is restarted alone, {most}")
    return [node.words, about, legend(marks)]
