"""The state of a run at one moment, as a pure fold over its events: (view, event) → view.

Progress lines, the stop rule, screens and reports share it. It judges nothing: that is for telemetry/verdict.
"""

from __future__ import annotations

import msgspec

from telemetry.events import (
    RECALLED,
    EvidenceLost,
    FatesDecided,
    PartsMerged,
    ProcessDied,
    RobotBorn,
    RobotComplete,
    RobotFenced,
    RobotJoined,
    RobotLeft,
    RobotLost,
    RobotWaiting,
    RunDealt,
    RunStarted,
    RunStopped,
    SecretRefused,
    SecretWritten,
    ServerForgot,
    Stamped,
    WorkerGaveUp,
)


class RobotView(msgspec.Struct, frozen=True):
    """One robot, by its own events."""

    incarnation: int
    state: str  # alive, away (until its next life), waiting (no RQ worker is free), left (in order), dead (for good)
    held: int
    is_complete: bool
    is_refused: bool = False  # one of its lives found that the register held a secret already


class View(msgspec.Struct, frozen=True):
    """A run so far. `writer`: the robot that reported its accepted write."""

    dealt: int = 0  # robots
    joined: int = 0  # later
    parts: int = 0
    robots: dict[str, RobotView] = {}
    writer: str | None = None
    has_server_forgotten: bool = False  # it came back older than some process knew it
    offered: int = 0  # envelopes that the relays decided
    lost: int = 0
    dealt_us: int | None = None  # wall clock, as the next ones
    born_us: int | None = None  # all dealt robots
    started_us: int | None = None
    stopped_us: int | None = None
    stopped: str | None = None

    @property
    def born(self) -> int:
        """Robots that have lived."""
        return len(self.robots)

    @property
    def complete(self) -> int:
        """Robots that lack no part."""
        return sum(robot.is_complete for robot in self.robots.values())

    @property
    def living(self) -> int:
        """Robots that have neither left nor died."""
        return sum(robot.state == "alive" for robot in self.robots.values())

    @property
    def is_done(self) -> bool:
        """The secret is written, and every reachable robot is complete."""
        return self.is_written and all(robot.is_complete for robot in self._reachable)

    @property
    def is_written(self) -> bool:
        """The secret is written: the writer reported it, or all reachable robots were refused. A writer that died
        before its report is refused in its next life, like all others."""
        reachable = self._reachable
        return self.writer is not None or (bool(reachable) and all(robot.is_refused for robot in reachable))

    @property
    def born_s(self) -> float | None:
        """When all dealt robots were born, in seconds since the deal."""
        return self._since_deal_s(self.born_us)

    @property
    def total_s(self) -> float | None:
        """Seconds from the deal to the order to stop."""
        return self._since_deal_s(self.stopped_us)

    @property
    def share(self) -> float:
        """The mean share of the parts that living robots hold, 0..1."""
        held = [robot.held for robot in self._reachable]
        return sum(held) / (len(held) * self.parts) if held and self.parts else 0.0

    def _since_deal_s(self, at_us: int | None) -> float | None:
        return None if at_us is None or self.dealt_us is None else (at_us - self.dealt_us) / 1e6

    @property
    def _reachable(self) -> list[RobotView]:
        return [robot for robot in self.robots.values() if robot.state not in ("dead", "waiting")]


def fold(view: View, stamped: Stamped) -> View:
    """The view after one more event."""
    event = stamped.event
    if isinstance(event, ServerForgot):
        return msgspec.structs.replace(view, has_server_forgotten=True)
    if stamped.source in view.robots or isinstance(event, RobotBorn):
        return _fold_robot(view, stamped)
    return _fold_run(view, stamped)


def _fold_run(view: View, stamped: Stamped) -> View:
    event = stamped.event
    match event:
        case RunDealt(robots, parts):
            return msgspec.structs.replace(view, dealt=robots, parts=parts, dealt_us=stamped.wall_us)
        case RunStarted():
            return msgspec.structs.replace(view, started_us=stamped.wall_us)
        case RunStopped(reason):
            return msgspec.structs.replace(view, stopped=reason, stopped_us=view.stopped_us or stamped.wall_us)
        case FatesDecided():
            return msgspec.structs.replace(view, offered=view.offered + event.offered, lost=view.lost + event.lost)
        case ProcessDied(process) if process.startswith("rq:"):
            return _change(view, process.removeprefix("rq:"), state="away")
        case RobotLost(robot):
            return _change(view, robot, state="away")
        case RobotWaiting(robot):
            return _change(view, robot, state="waiting")
        case RobotJoined():
            return msgspec.structs.replace(view, joined=view.joined + 1)
    return view


def _fold_robot(view: View, stamped: Stamped) -> View:
    name, event = stamped.source, stamped.event
    match event:
        case RobotBorn(parts):
            was_refused = name in view.robots and view.robots[name].is_refused
            born = RobotView(stamped.incarnation, "alive", parts, 0 < parts == view.parts, was_refused)
            robots = {**view.robots, name: born}
            is_last = view.born_us is None and len(robots) == view.dealt
            return msgspec.structs.replace(view, robots=robots, born_us=stamped.wall_us if is_last else view.born_us)
        case PartsMerged():
            return _change(view, name, held=event.held)
        case RobotComplete():
            return _change(view, name, is_complete=True)
        case RobotFenced() | EvidenceLost("journal"):
            return _change(view, name, state="dead")
        case WorkerGaveUp(worker) if worker == name:  # the robot, not a worker inside it: it will not be born again
            return _change(view, name, state="dead")
        case RobotLeft(reason):
            return _change(view, name, state="away" if reason == RECALLED else "left")
        case SecretRefused():
            return _change(view, name, is_refused=True)
        case SecretWritten():
            return msgspec.structs.replace(view, writer=name)
    return view


def _change(view: View, name: str, **changes: object) -> View:
    if name not in view.robots:
        return view
    robot = msgspec.structs.replace(view.robots[name], **changes)
    return msgspec.structs.replace(view, robots={**view.robots, name: robot})
