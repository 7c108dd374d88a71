"""The one word for how a robot is now, from the view and the plan in force."""

from __future__ import annotations

from typing import Literal

from telemetry.explanations.links import Links
from telemetry.scene.scene import Scene

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
`away`: it died, and its next life is not born yet; `passive`: complete, and mostly answering;
`born`: the run is held back, and its robots wait for go."""


def states_of(scene: Scene) -> dict[str, State]:
    """Each robot's word."""
    links = Links(scene.view.faults)
    return {robot: _state_of(scene, robot, links) for robot in scene.robots}


def _state_of(scene: Scene, name: str, links: Links) -> State:
    robot = scene.view.robots.get(name)
    if robot is None:
        return "waiting" if name in scene.view.unborn else "unborn"
    if robot.state != "alive":
        return {"away": "away", "waiting": "waiting", "left": "left"}.get(robot.state, "dead")  # type: ignore[return-value]
    if robot.is_paused:
        return "paused"
    if scene.view.is_held_back:
        return "born"
    if scene.view.writer == name:
        return "wrote"
    if links.blocks_any and _is_cut_off(scene, name, links):
        return "cut off"
    if not robot.is_complete:
        return "stuck" if ("stuck", name) in scene.anomalies else "gossiping"
    if scene.traffic.of(name).is_passive:
        return "passive"
    return "quiet" if robot.is_quiet else "complete"


def _is_cut_off(scene: Scene, name: str, links: Links) -> bool:
    others = [other for other in scene.view.robots if other != name]
    return bool(others) and all(links.blocking(name, other) or links.blocking(other, name) for other in others)
