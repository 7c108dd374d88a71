"""How far the robots are, over time: one sample whenever that changed, and not more often than is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from telemetry.events import PartsMerged, RobotBorn, RobotComplete, RunStarted, Stamped
from telemetry.view import View


class Sample(NamedTuple):
    """At one moment of the wall clock: the mean share of the parts that living robots hold, and the smallest, 0..1."""

    at_us: int
    mean: float
    least: float


class Curve:
    """`resolution_us`: samples closer together than that are one, the later."""

    def __init__(self, resolution_us: int) -> None:
        self._resolution_us = resolution_us
        self._samples: list[Sample] = []

    @property
    def samples(self) -> Sequence[Sample]:
        """All samples, in order of time."""
        return self._samples

    def handle(self, stamped: Stamped, view: View) -> None:
        """Take a sample, if the event changed something."""
        if not isinstance(stamped.event, PartsMerged | RobotBorn | RobotComplete | RunStarted) or not view.parts:
            return
        held = [robot.held for robot in view.robots.values() if robot.state not in ("dead", "waiting")]
        sample = Sample(stamped.wall_us, view.share, min(held, default=0) / view.parts)
        if self._samples and stamped.wall_us - self._samples[-1].at_us < self._resolution_us:
            self._samples[-1] = sample._replace(at_us=self._samples[-1].at_us)
        else:
            self._samples.append(sample)

    def copy(self) -> Curve:
        other = Curve(self._resolution_us)
        other._samples = self._samples.copy()
        return other
