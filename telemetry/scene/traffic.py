"""What each robot sent and received, and what was of use: counts, and what it received in each of the last seconds.

Almost every event of a run is counted here, so the counts are changed in place: only a copy of all is apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from telemetry.events import (
    ChannelPressure,
    Event,
    ExchangeEnded,
    MessageDropped,
    MessageReceived,
    MessageRepeated,
    MessageSent,
    PartsMerged,
    RobotBorn,
    RobotPassive,
    Stamped,
    WorkerCrashed,
)
from telemetry.view import View

SECONDS_KEPT: Final = 60


class RobotTraffic(msgspec.Struct):
    """One robot's counts, of all its lives. `useful`: copies that taught it something. `seconds`: copies received in
    each second of the wall clock, in order."""

    sent: int = 0
    parts_sent: int = 0  # in them
    dropped: int = 0  # its outbox was full or away
    received: int = 0
    repeated: int = 0
    useful: int = 0
    unanswered: int = 0  # exchanges that it began
    crashes: int = 0  # of its workers
    pressed: int = 0  # reports of channels that dropped items
    is_passive: bool = False  # in this life
    last_us: int = 0  # of its newest event
    seconds: dict[int, int] = {}

    @property
    def per_second(self) -> tuple[tuple[int, int], ...]:
        """Copies received, as (second of the wall clock, count), the newest last; seconds without any are left out."""
        return tuple(self.seconds.items())

    def received_lately(self, now_us: int, seconds: int) -> list[int]:
        """Copies received in each of the last seconds, the newest last."""
        newest = now_us // 1_000_000
        return [self.seconds.get(second, 0) for second in range(newest - seconds + 1, newest + 1)]

    def copy(self) -> RobotTraffic:
        """The same counts, to go on from."""
        return msgspec.structs.replace(self, seconds=self.seconds.copy())


class Traffic:
    """`robots` by name; of one that reported nothing yet there is no entry."""

    def __init__(self) -> None:
        self.robots: dict[str, RobotTraffic] = {}

    def of(self, robot: str) -> RobotTraffic:
        """The traffic of a robot."""
        return self.robots.get(robot) or RobotTraffic()

    def handle(self, stamped: Stamped, view: View) -> None:
        """Count an event of a robot."""
        traffic = self.robots.get(stamped.source)
        if traffic is None:
            if stamped.source not in view.robots:
                return
            traffic = self.robots[stamped.source] = RobotTraffic(seconds={})
        if stamped.wall_us > traffic.last_us:
            traffic.last_us = stamped.wall_us
        count = _COUNTED.get(type(stamped.event))
        if count is not None:
            count(traffic, stamped)

    def copy(self) -> Traffic:
        other = Traffic()
        other.robots = {robot: traffic.copy() for robot, traffic in self.robots.items()}
        return other


def _sent(traffic: RobotTraffic, stamped: Stamped) -> None:
    traffic.sent += 1
    if isinstance(stamped.event, MessageSent):
        traffic.parts_sent += stamped.event.parts


def _received(traffic: RobotTraffic, stamped: Stamped) -> None:
    traffic.received += 1
    second, seconds = stamped.wall_us // 1_000_000, traffic.seconds
    seconds[second] = seconds.get(second, 0) + 1
    if len(seconds) > SECONDS_KEPT:
        del seconds[next(iter(seconds))]


def _repeated(traffic: RobotTraffic, _: Stamped) -> None:
    traffic.repeated += 1


def _dropped(traffic: RobotTraffic, _: Stamped) -> None:
    traffic.dropped += 1


def _useful(traffic: RobotTraffic, _: Stamped) -> None:
    traffic.useful += 1


def _exchanged(traffic: RobotTraffic, stamped: Stamped) -> None:
    if isinstance(stamped.event, ExchangeEnded) and stamped.event.outcome == "timeout":
        traffic.unanswered += 1


def _crashed(traffic: RobotTraffic, _: Stamped) -> None:
    traffic.crashes += 1


def _pressed(traffic: RobotTraffic, _: Stamped) -> None:
    traffic.pressed += 1


def _passive(traffic: RobotTraffic, stamped: Stamped) -> None:
    traffic.is_passive = isinstance(stamped.event, RobotPassive)


_COUNTED: Final[Mapping[type[Event], Callable[[RobotTraffic, Stamped], None]]] = {
    MessageSent: _sent,
    MessageReceived: _received,
    MessageRepeated: _repeated,
    MessageDropped: _dropped,
    PartsMerged: _useful,
    ExchangeEnded: _exchanged,
    WorkerCrashed: _crashed,
    ChannelPressure: _pressed,
    RobotPassive: _passive,
    RobotBorn: _passive,  # a new life is not passive yet
}
