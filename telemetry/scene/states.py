"""The one word for how a robot is now, from the view and the plan in force; of a run that is over, how it was then."""

from __future__ import annotations

from typing import Final, Literal

from telemetry.anomalies.catalogue import STUCK_ROBOT
from telemetry.explanations.links import Links
from telemetry.scene.scene import Scene
from telemetry.view import RobotView

State = Literal[
    "gossiping",
    "complete",
    "quiet",
    "passive",
    "wrote",
    "paused",
    "waiting",
    "cut off",
    "dead",
    "away",
    "stuck",
    "left",
    "unborn",
    "born",
]
"""`cut off`: the plan lets nothing pass between it and any other robot; `stuck`: an anomaly of that name stands;
`away`: it died, and its next life is not born yet; `passive`: complete, and mostly answering; `left`: it ended in
order, though the run goes on; `born`: the run is held back, and it waits for go."""

TROUBLED: Final[frozenset[State]] = frozenset(("dead", "away", "waiting", "stuck", "cut off", "paused"))
"""The robots that need a person's eye."""


_AFTER_US: Final = 100_000  # what a process reported just before its death may be stamped or read a little later


def states_of(scene: Scene) -> dict[str, State]:
    """Each robot's word."""
    links = Links(scene.faults.texts)
    return {robot: _state_of(scene, robot, links) for robot in scene.robots}


def _state_of(scene: Scene, name: str, links: Links) -> State:
    robot = scene.view.robots.get(name)
    if robot is None:
        return "waiting" if name in scene.view.unborn else "unborn"
    match robot.state:
        case "away" | "waiting" | "dead":
            return robot.state
        case "left" if scene.view.stopped_us is None:
            return "left"
    return _state_in_life(scene, name, robot, links)


def _state_in_life(scene: Scene, name: str, robot: RobotView, links: Links) -> State:
    if _is_down(scene, name):
        return "away"
    if robot.is_paused:
        return "paused"
    if scene.view.is_held_back:
        return "born"
    if scene.view.writer == name:
        return "wrote"
    if links.blocks_any and _is_cut_off(scene, name, links):
        return "cut off"
    if not robot.is_complete:
        return "stuck" if (STUCK_ROBOT, name) in scene.anomalies else "gossiping"
    if scene.traffic.of(name).is_passive:
        return "passive"
    return "quiet" if robot.is_quiet else "complete"


def _is_down(scene: Scene, name: str) -> bool:
    """Whether its process was killed, and nothing of it came since: the report of its next life may have been lost."""
    line = scene.lifelines.lines.get(name)
    if not line or line[-1].condition != "down":
        return False
    return scene.traffic.of(name).last_us <= line[-1].from_us + _AFTER_US


def _is_cut_off(scene: Scene, name: str, links: Links) -> bool:
    others = [other for other in scene.view.robots if other != name]
    return bool(others) and all(links.blocking(name, other) or links.blocking(other, name) for other in others)
