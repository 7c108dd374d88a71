"""What each robot sent and received, and what was of use: counts, and what it received in each of the last seconds."""

from __future__ import annotations

from typing import Final

import msgspec

from telemetry.events import (
    ChannelPressure,
    MessageDropped,
    MessageReceived,
    MessageRepeated,
    MessageSent,
    PartsMerged,
    RobotPassive,
    Stamped,
    WorkerCrashed,
)
from telemetry.view import View

SECONDS_KEPT: Final = 60


class RobotTraffic(msgspec.Struct, frozen=True):
    """One robot's counts, of all its lives. `useful`: copies that taught it something. `per_second`: copies received
    in each second of the wall clock, as (second, count), the newest last."""

    sent: int = 0
    dropped: int = 0  # its outbox was full or away
    received: int = 0
    repeated: int = 0
    useful: int = 0
    crashes: int = 0  # of its workers
    pressed: int = 0  # items that its channels dropped
    is_passive: bool = False
    last_us: int = 0  # of its newest event
    per_second: tuple[tuple[int, int], ...] = ()


_NONE: Final = RobotTraffic()


class Traffic:
    """`robots` by name; of one that reported nothing yet there is no entry."""

    def __init__(self) -> None:
        self.robots: dict[str, RobotTraffic] = {}

    def of(self, robot: str) -> RobotTraffic:
        """The traffic of a robot."""
        return self.robots.get(robot, _NONE)

    def handle(self, stamped: Stamped, view: View) -> None:
        """Count an event of a robot."""
        if stamped.source not in view.robots:
            return
        before = self.of(stamped.source)
        self.robots[stamped.source] = msgspec.structs.replace(
            before, last_us=max(before.last_us, stamped.wall_us), **_changes(before, stamped)
        )

    def copy(self) -> Traffic:
        other = Traffic()
        other.robots = self.robots.copy()
        return other


def _changes(before: RobotTraffic, stamped: Stamped) -> dict[str, object]:
    match stamped.event:
        case MessageSent():
            return {"sent": before.sent + 1}
        case MessageReceived():
            return {
                "received": before.received + 1,
                "per_second": _counted(before.per_second, stamped.wall_us // 1_000_000),
            }
        case MessageRepeated():
            return {"repeated": before.repeated + 1}
        case MessageDropped():
            return {"dropped": before.dropped + 1}
        case PartsMerged():
            return {"useful": before.useful + 1}
        case WorkerCrashed():
            return {"crashes": before.crashes + 1}
        case ChannelPressure():
            return {"pressed": before.pressed + 1}
        case RobotPassive():
            return {"is_passive": True}
    return {}


def _counted(per_second: tuple[tuple[int, int], ...], second: int) -> tuple[tuple[int, int], ...]:
    if per_second and per_second[-1][0] >= second:
        last, count = per_second[-1]
        return (*per_second[:-1], (last, count + 1))
    return (*per_second, (second, 1))[-SECONDS_KEPT:]
