"""The page of robots: the table, or the robot that a person chose in detail, in the tab that they chose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from telemetry.drawing.line import Fragment, Line, Size, block, line
from telemetry.drawing.marks import TONES, Marks
from telemetry.drawing.moment import Moment
from telemetry.drawing.robots import lives, log, parts, peers, table
from telemetry.drawing.table import ago
from telemetry.phrases import counted
from telemetry.scene.states import states_of


class _Tab(NamedTuple):
    """`rows`: what its cursor moves over."""

    name: str
    draw: Callable[[Moment, Size, Marks], list[Line]]
    rows: Callable[[Moment], Sequence[str]]


TABS: Final = (
    _Tab("Parts", parts.draw, parts.rows),
    _Tab("Traffic", peers.draw, peers.rows),
    _Tab("Log", log.draw, log.rows),
    _Tab("Lives", lives.draw, lives.rows),
)


def draw(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    """The page."""
    if not moment.chosen.robot:
        return table.draw(moment, size, marks)
    head = [_state_line(moment, marks), _tab_line(moment)]
    return [*block(head, Size(size.width, len(head))), *_tab(moment).draw(moment, _below(size, len(head)), marks)]


def rows(moment: Moment) -> Sequence[str]:
    """What the cursor moves over: robots, or the rows of the tab."""
    return _tab(moment).rows(moment) if moment.chosen.robot else table.rows(moment)


def _tab(moment: Moment) -> _Tab:
    return TABS[moment.chosen.tab % len(TABS)]


def _below(size: Size, used: int) -> Size:
    return Size(size.width, size.height - used)


def _state_line(moment: Moment, marks: Marks) -> Line:
    scene, robot = moment.scene, moment.chosen.robot
    state = states_of(scene).get(robot)
    if state is None:
        return line(Fragment(f"{robot}: this run has no such robot", "bad"))
    seen, parts_of = scene.view.robots.get(robot), len(scene.holders)
    life = f"life {seen.incarnation}" if seen else "not born yet"
    current = scene.lifelines.lines.get(robot, ())
    why = f" ({current[-1].why})" if current and current[-1].condition in ("down", "paused", "waiting", "dead") else ""
    return line(
        Fragment(f"{robot} ", "title"),
        Fragment(f"{marks.states[state]} {state}{why}", TONES[state]),
        f"   {life}   holds {scene.held(robot).bit_count()} of {counted(parts_of, 'part')}"
        f"   last event {_ago(scene.traffic.of(robot).last_us, scene.now_us)}",
    )


def _ago(at_us: int, now_us: int) -> str:
    return f"{ago(at_us, now_us)} ago" if at_us else "never"


def _tab_line(moment: Moment) -> Line:
    chosen = TABS.index(_tab(moment))
    tabs = [Fragment(f" {tab.name} ", "chosen" if place == chosen else "dim") for place, tab in enumerate(TABS)]
    return line(*tabs, Fragment("   [ ]: tabs   n p: other robot   esc: all", "dim"))
