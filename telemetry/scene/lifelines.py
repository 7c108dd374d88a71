"""What each process of a run went through, over time: robots, relays, the server and the supervisor.

A stretch of time has one word. What ended one begins the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from telemetry.events import (
    EvidenceLost,
    FaultInjected,
    ProcessDied,
    ProcessStarted,
    RelayMissing,
    RelayResumed,
    RobotBorn,
    RobotComplete,
    RobotFenced,
    RobotLeft,
    RobotLost,
    RobotWaiting,
    Stamped,
    SupervisorBegan,
    WorkerGaveUp,
)
from telemetry.view import View

Condition = Literal["up", "complete", "down", "paused", "waiting", "dead", "left"]


class Stretch(NamedTuple):
    """From `from_us` of the wall clock on, until the next one. `why`: what made it so, as a few words."""

    from_us: int
    condition: Condition
    why: str


class Lifelines:
    """`lines` by process: `r03`, `relay:0`, `redis`, `supervisor`."""

    def __init__(self) -> None:
        self.lines: Mapping[str, tuple[Stretch, ...]] = {}

    def handle(self, stamped: Stamped, view: View) -> None:  # noqa: ARG002
        """Take what an event says of a process."""
        for process, condition, why in _changes(stamped):
            line = self.lines.get(process, ())
            if line and line[-1].condition == condition:
                continue
            if condition == "paused" and not line:
                continue
            before = line[-2].condition if len(line) > 1 else "up"
            is_back = why == "resumed"
            if is_back and (not line or line[-1].condition != "paused"):
                continue
            stretch = Stretch(stamped.wall_us, before if is_back else condition, why)
            self.lines = {**self.lines, process: (*line, stretch)}

    def copy(self) -> Lifelines:
        other = Lifelines()
        other.lines = self.lines
        return other


def _changes(stamped: Stamped) -> Iterator[tuple[str, Condition, str]]:
    source, event = stamped.source, stamped.event
    match event:
        case RobotBorn(parts=_):
            yield source, "up", f"life {stamped.incarnation}"
        case RobotComplete():
            yield source, "complete", "complete"
        case RobotFenced() | EvidenceLost("journal"):
            yield source, "dead", "fenced" if isinstance(event, RobotFenced) else "its journal is lost"
        case WorkerGaveUp(worker) if worker == source:
            yield source, "dead", "died too often"
        case RobotLeft(reason):
            yield source, "left", reason
        case RobotLost(robot):
            yield robot, "down", "its RQ worker is presumed dead"
        case RobotWaiting(robot):
            yield robot, "waiting", "no RQ worker is free"
        case _:
            yield from _process_changes(stamped)


def _process_changes(stamped: Stamped) -> Iterator[tuple[str, Condition, str]]:
    event = stamped.event
    match event:
        case FaultInjected("pause", victim=victim):
            yield victim, "paused", "paused"
        case FaultInjected("resume", victim=victim):
            yield victim, "up", "resumed"
        case FaultInjected("kill" | "amnesia" | "restart" as verb, victim=victim):
            yield victim.removeprefix("rq:"), "down", f"{verb} (injected)"
        case ProcessDied(process, status=status):
            yield process.removeprefix("rq:"), "down", f"signal {-status}" if status < 0 else f"exit {status}"
        case ProcessStarted(process) if not process.startswith("rq:"):
            yield process, "up", "started"
        case RelayResumed(shard):
            yield f"relay:{shard}", "up", "took its shard"
        case RelayMissing(shard):
            yield f"relay:{shard}", "down", "no relay"
        case SupervisorBegan():
            yield "supervisor", "up", f"{stamped.source} leads"
