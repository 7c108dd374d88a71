"""Restart storm, flapping quiet and channel pressure: events of one kind about one robot, worker or channel, too many
in a short time. They are over when no other has come for a while.

The time between such events is taken from their own stamps: a reader that was away gets them all at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from telemetry.anomalies.catalogue import CHANNEL_PRESSURE, FLAPPING_QUIET, RESTART_STORM
from telemetry.anomalies.rule import Handle, Observed
from telemetry.events import (
    ChannelPressure,
    Event,
    InboxOverflowed,
    RobotBorn,
    RobotDisturbed,
    Stamped,
    WorkerRestarted,
)


class _Series:
    """The last events about one thing: their stamps, and when the newest was read."""

    def __init__(self, number: int) -> None:
        self.stamps_us: deque[int] = deque(maxlen=number)
        self.read_us = 0

    def add(self, wall_us: int, now_us: int, window_us: int) -> bool:
        """Whether so many came within the window."""
        self.stamps_us.append(wall_us)
        self.read_us = now_us
        return len(self.stamps_us) == self.stamps_us.maxlen and wall_us - self.stamps_us[0] <= window_us


class RepeatedEvents:
    """The three rules."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._series: dict[tuple[str, str], _Series] = {}  # by rule and what it is about
        self.handlers: Mapping[type[Event], Handle] = {
            RobotBorn: self._born,
            WorkerRestarted: self._restarted,
            RobotDisturbed: self._disturbed,
            ChannelPressure: self._dropped,
            InboxOverflowed: self._overflowed,
        }

    def check(self) -> None:
        over_us = self._observed.us(self._observed.thresholds.over_ticks)
        for key, series in self._series.items():
            if self._observed.active.is_active(*key) and self._observed.now_us - series.read_us >= over_us:
                self._observed.active.end(*key)

    def _born(self, _event: RobotBorn, stamped: Stamped) -> None:
        if stamped.incarnation > 1:
            self._add_restart(stamped.source, "births", stamped)

    def _restarted(self, event: WorkerRestarted, stamped: Stamped) -> None:
        self._add_restart(f"{stamped.source}/{event.worker}", "restarts", stamped)

    def _add_restart(self, about: str, what: str, stamped: Stamped) -> None:
        thresholds = self._observed.thresholds
        detail = f"{thresholds.restarts} {what} within {{:.1f}} s"
        self._add((RESTART_STORM, about), detail, thresholds.restarts, thresholds.restart_ticks, stamped)

    def _disturbed(self, _event: RobotDisturbed, stamped: Stamped) -> None:
        thresholds = self._observed.thresholds
        detail = f"quiet and disturbed {thresholds.disturbances} times within {{:.1f}} s"
        key = (FLAPPING_QUIET, stamped.source)
        self._add(key, detail, thresholds.disturbances, thresholds.disturbance_ticks, stamped)

    def _dropped(self, event: ChannelPressure, stamped: Stamped) -> None:
        key = (CHANNEL_PRESSURE, f"{stamped.source}/{event.channel}")
        self._add(key, f"{event.dropped} dropped", 1, 0, stamped)

    def _overflowed(self, event: InboxOverflowed, stamped: Stamped) -> None:
        self._add((CHANNEL_PRESSURE, f"{stamped.source}/inbox"), f"{event.lost} trimmed unread", 1, 0, stamped)

    def _add(self, key: tuple[str, str], detail: str, number: int, ticks: float, stamped: Stamped) -> None:
        """One more event; an anomaly begins with the `number`-th within so many ticks. `detail` gets the seconds."""
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series(number)
        if series.add(stamped.wall_us, self._observed.now_us, self._observed.us(ticks)):
            seconds = (series.stamps_us[-1] - series.stamps_us[0]) / 1e6
            self._observed.active.begin(*key, detail.format(seconds))
