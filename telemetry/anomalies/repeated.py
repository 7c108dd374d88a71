"""Restart storm and flapping quiet: too many events of one kind about one robot or worker, in a short time.

The time between such events is taken from their own stamps: a reader that was away gets them all at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

from telemetry.anomalies.rule import Handle, Observed
from telemetry.events import Event, RobotBorn, RobotDisturbed, Stamped, WorkerRestarted

RESTART_STORM: Final = "restart storm"
FLAPPING_QUIET: Final = "flapping quiet"


class _Burst:
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
    """Both rules."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._bursts: dict[tuple[str, str], _Burst] = {}
        self.handlers: Mapping[type[Event], Handle] = {
            RobotBorn: self._born,
            WorkerRestarted: self._restarted,
            RobotDisturbed: self._disturbed,
        }

    def check(self) -> None:
        over_us = self._observed.us(self._observed.thresholds.over_ticks)
        for key, burst in self._bursts.items():
            if self._observed.active.is_active(*key) and self._observed.now_us - burst.read_us >= over_us:
                self._observed.active.end(*key)

    def _born(self, _event: RobotBorn, stamped: Stamped) -> None:
        if stamped.incarnation > 1:
            self._add_restart(stamped.source, "births", stamped)

    def _restarted(self, event: WorkerRestarted, stamped: Stamped) -> None:
        self._add_restart(f"{stamped.source}/{event.worker}", "restarts", stamped)

    def _add_restart(self, about: str, what: str, stamped: Stamped) -> None:
        thresholds = self._observed.thresholds
        self._add((RESTART_STORM, about), what, thresholds.restarts, thresholds.restart_ticks, stamped)

    def _disturbed(self, _event: RobotDisturbed, stamped: Stamped) -> None:
        thresholds = self._observed.thresholds
        key = (FLAPPING_QUIET, stamped.source)
        self._add(key, "disturbances", thresholds.disturbances, thresholds.disturbance_ticks, stamped)

    def _add(self, key: tuple[str, str], what: str, number: int, ticks: float, stamped: Stamped) -> None:
        burst = self._bursts.get(key)
        if burst is None:
            burst = self._bursts[key] = _Burst(number)
        if burst.add(stamped.wall_us, self._observed.now_us, self._observed.us(ticks)):
            span_s = (burst.stamps_us[-1] - burst.stamps_us[0]) / 1e6
            self._observed.active.begin(*key, f"{number} {what} within {span_s:.1f} s")
