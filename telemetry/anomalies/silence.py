"""Late beat and stuck robot: a living robot of which nothing comes, or to which nothing new comes.

Both count by the observer's time, from when an event was read: what came late is no silence.
"""

from __future__ import annotations

from collections.abc import Mapping

from telemetry.anomalies.catalogue import LATE_BEAT, STUCK_ROBOT
from telemetry.anomalies.robots import KnownRobot
from telemetry.anomalies.rule import Handle, Observed
from telemetry.events import Event, PartsMerged, Stamped


class Silence:
    """Both rules."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._late: dict[str, int] = {}  # robot → when it was last seen
        self._behind_us: dict[str, int] = {}  # robot → since when nothing new came, while others hold more
        self.handlers: Mapping[type[Event], Handle] = {PartsMerged: self._merged}

    def check(self) -> None:
        living = {robot.name: robot for robot in self._observed.robots.living}
        most = max((robot.held for robot in living.values()), default=0)
        self._check_beats(living)
        for name in self._behind_us.keys() - {
            robot.name for robot in living.values() if not robot.is_complete and robot.held < most
        }:
            del self._behind_us[name]
            self._observed.active.end(STUCK_ROBOT, name)
        for robot in living.values():
            if not robot.is_complete and robot.held < most:
                self._check_news(robot, most)

    def _check_beats(self, living: Mapping[str, KnownRobot]) -> None:
        active, now_us = self._observed.active, self._observed.now_us
        limit_us = self._observed.silence_us(self._observed.thresholds.beat_ticks)
        for name, seen_us in list(self._late.items()):
            if name not in living or living[name].seen_us > seen_us:
                del self._late[name]
                active.end(LATE_BEAT, name)
        for robot in living.values():
            silent_us = now_us - robot.seen_us
            if silent_us >= limit_us and robot.name not in self._late:
                self._late[robot.name] = robot.seen_us
                active.begin(LATE_BEAT, robot.name, f"no event for {silent_us / 1e6:.1f} s")

    def _check_news(self, robot: KnownRobot, most: int) -> None:
        since_us = self._behind_us.setdefault(robot.name, self._observed.now_us)
        behind_us = self._observed.now_us - since_us
        if behind_us >= self._observed.silence_us(self._observed.thresholds.stuck_ticks):
            detail = f"holds {robot.held} parts, another robot {most}, and nothing new came for {behind_us / 1e6:.1f} s"
            self._observed.active.begin(STUCK_ROBOT, robot.name, detail)

    def _merged(self, _event: PartsMerged, stamped: Stamped) -> None:
        if self._behind_us.pop(stamped.source, None) is not None:
            self._observed.active.end(STUCK_ROBOT, stamped.source)
