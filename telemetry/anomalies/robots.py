"""The robots as a run's events show them: who lives, who has started, what each holds, and when it was last seen.

A robot is known from its first event on; one that joins is like any other. Nothing is judged here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from telemetry.events import (
    Event,
    EvidenceLost,
    FaultInjected,
    MessageSent,
    PartsMerged,
    ProcessDied,
    RobotBorn,
    RobotComplete,
    RobotFenced,
    RobotLeft,
    RobotLost,
    RobotWaiting,
    RobotYielded,
    Stamped,
    WorkerGaveUp,
)

_ENDS: Final = frozenset(("kill", "restart", "amnesia"))  # process faults that end a life
_AFTER_US: Final = 100_000
"""An event that is so much newer than a reported end shows that the life goes on: an injection was only requested."""


class KnownRobot(msgspec.Struct):
    """One robot. `seen_us`: when an event of its present life was last read. `held`: parts, the last count that it
    told."""

    name: str
    incarnation: int
    seen_us: int
    is_alive: bool = True
    is_started: bool = False
    is_complete: bool = False
    held: int = 0
    ended_wall_us: int = 0  # the stamp of what ended this life, by another process


class KnownRobots:
    """All robots, by name."""

    def __init__(self) -> None:
        self._known: dict[str, KnownRobot] = {}
        self._handlers: Mapping[type[Event], Callable[[Any, Stamped, KnownRobot], None]] = {
            RobotBorn: self._born,
            PartsMerged: self._merged,
            MessageSent: self._sent,
            RobotComplete: self._complete,
            RobotLeft: self._ended,
            RobotFenced: self._ended,
            EvidenceLost: self._evidence_lost,
            WorkerGaveUp: self._gave_up,
        }
        self._ends: Mapping[type[Event], Callable[[Any], str]] = {
            FaultInjected: lambda event: event.victim if event.verb in _ENDS else "",
            ProcessDied: lambda event: event.process,
            RobotLost: lambda event: event.robot,
            RobotWaiting: lambda event: event.robot,
            RobotYielded: lambda event: event.robot,
        }

    def observe(self, stamped: Stamped, now_us: int) -> None:
        """Take in an event that was read at `now_us`."""
        kind = type(stamped.event)
        if kind in self._ends:
            self._end(self._ends[kind](stamped.event).removeprefix("rq:"), stamped.wall_us)
            return
        robot = self._known.get(stamped.source)
        if robot is None:
            if not is_robot(stamped.source):
                return
            robot = self._known[stamped.source] = KnownRobot(stamped.source, stamped.incarnation, now_us)
        if stamped.incarnation < robot.incarnation:
            return
        robot.seen_us = now_us
        if not robot.is_alive and 0 < robot.ended_wall_us < stamped.wall_us - _AFTER_US:
            robot.is_alive = True
        robot.is_started = True  # unless this is its birth
        handle = self._handlers.get(kind)
        if handle is not None:
            handle(stamped.event, stamped, robot)

    def __getitem__(self, name: str) -> KnownRobot | None:
        return self._known.get(name)

    @property
    def living(self) -> Iterator[KnownRobot]:
        """Robots that live and gossip."""
        return (robot for robot in self._known.values() if robot.is_alive and robot.is_started)

    def _born(self, event: RobotBorn, stamped: Stamped, robot: KnownRobot) -> None:
        robot.incarnation, robot.held = stamped.incarnation, event.parts
        robot.is_alive, robot.is_started, robot.is_complete, robot.ended_wall_us = True, False, False, 0

    def _merged(self, event: PartsMerged, _stamped: Stamped, robot: KnownRobot) -> None:
        robot.held = event.held

    def _sent(self, event: MessageSent, _stamped: Stamped, robot: KnownRobot) -> None:
        robot.held = max(robot.held, event.held)

    def _complete(self, _event: RobotComplete, _stamped: Stamped, robot: KnownRobot) -> None:
        robot.is_complete = True

    def _ended(self, _event: Event, _stamped: Stamped, robot: KnownRobot) -> None:
        robot.is_alive, robot.ended_wall_us = False, 0

    def _evidence_lost(self, event: EvidenceLost, stamped: Stamped, robot: KnownRobot) -> None:
        if event.stream == "journal":
            self._ended(event, stamped, robot)

    def _gave_up(self, event: WorkerGaveUp, stamped: Stamped, robot: KnownRobot) -> None:
        if event.worker == robot.name:
            self._ended(event, stamped, robot)

    def _end(self, name: str, wall_us: int) -> None:
        robot = self._known.get(name)
        if robot is not None and robot.is_alive:
            robot.is_alive, robot.ended_wall_us = False, wall_us


def is_robot(source: str) -> bool:
    """Whether the source of an event is a robot."""
    return source[:1] == "r" and source[1:].isdigit()
