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
    """`resolution_us`: samples closer together than that are one, the later.

    A view is worked out only when the next moment begins or someone looks: most of them are replaced before.
    """

    def __init__(self, resolution_us: int) -> None:
        self._resolution_us = resolution_us
        self._samples: list[Sample] = []
        self._newest: tuple[int, View] | None = None  # when it began, and its view so far

    @property
    def samples(self) -> Sequence[Sample]:
        """All samples, in order of time."""
        return self._samples if self._newest is None else [*self._samples, _sample(*self._newest)]

    def handle(self, stamped: Stamped, view: View) -> None:
        """Take a sample, if the event changed something."""
        if not isinstance(stamped.event, PartsMerged | RobotBorn | RobotComplete | RunStarted) or not view.parts:
            return
        began_us = stamped.wall_us
        if self._newest is not None:
            if began_us - self._newest[0] < self._resolution_us:
                began_us = self._newest[0]
            else:
                self._samples.append(_sample(*self._newest))
        self._newest = began_us, view

    def copy(self) -> Curve:
        other = Curve(self._resolution_us)
        other._samples, other._newest = self._samples.copy(), self._newest
        return other


def _sample(at_us: int, view: View) -> Sample:
    held = [robot.held for robot in view.robots.values() if robot.state not in ("dead", "waiting")]
    return Sample(at_us, view.share, min(held, default=0) / view.parts)
