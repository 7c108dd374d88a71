"""Scenes: of a simulated run, until any of its moments, and of events that a test makes by hand. No tests here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

import msgspec

from deploy.config.experiment import prepare
from deploy.lifecycle.recording import run_settings
from robots.simulation.simulate import simulate
from telemetry.events import AnyEvent, RobotBorn, RunDealt, RunHeldBack, RunStarted, Stamped
from telemetry.record.rows import DealtPart
from telemetry.record.settings import RunSettings
from telemetry.scene.scene import Scene
from tests.support.recorded_settings import settings_of

STORM = (
    ("robots", "12"),
    ("seed", "7"),
    ("for_", "6s"),
    ("loss", ".3"),
    ("fault", ("partition r00..r02|r03..r11 @0s+2s", "loss .8 @4s+1s")),
    ("chaos", ("kill robot every 700ms", "pause r05 @1s+1s", "amnesia r04 @3s")),
)
"""Two halves that are cut from each other, a robot that is paused, deaths, and one that loses its journal."""


class Played(NamedTuple):
    """A run that was simulated to its end."""

    settings: RunSettings
    dealt: tuple[DealtPart, ...]
    events: Sequence[Stamped]

    def until(self, since_go_s: float) -> Scene:
        """The scene, so long after `go`."""
        scene = Scene(self.settings, self.dealt)
        for stamped in self.events:
            if scene.go_us is not None and stamped.wall_us > scene.go_us + round(since_go_s * 1e6):
                break
            scene.handle(stamped)
        if scene.go_us is not None:
            scene.now_us = max(scene.now_us, min(scene.go_us + round(since_go_s * 1e6), self.events[-1].wall_us))
        return scene


@cache
def played(given: tuple[tuple[str, str | tuple[str, ...]], ...] = STORM) -> Played:
    """The run of these options."""
    experiment = prepare(dict(given))
    simulated = simulate("5eed01", experiment.deal, experiment.terms, experiment.plan, experiment.bounds)
    settings = run_settings("5eed01", "simulate", "test", experiment)
    dealt = msgspec.convert(experiment.deal.record()["indices"], tuple[DealtPart, ...])
    return Played(settings, dealt, simulated.events)


GO_US = 1_700_000_000_000_000


class MadeScene:
    """A scene of robots that were born and began: `MadeScene({0: ["r00"], 1: ["r01"]}, robots=2)`. `is_held_back`: they
    wait for a person's go instead."""

    def __init__(self, dealt: dict[int, Iterable[str]], robots: int, *, is_held_back: bool = False) -> None:
        parts = [DealtPart(index, tuple(holders)) for index, holders in dealt.items()]
        self.scene = Scene(settings_of(run="f00000", robots=robots), parts)
        self._numbers: dict[str, int] = {}
        self.event(-10, "lab", RunDealt(robots, len(parts)))
        for robot in self.scene.robots:
            self.event(-5, robot, RobotBorn(self.scene.dealt.get(robot, 0).bit_count(), 0))
        self.event(0, "lab", RunHeldBack(robots) if is_held_back else RunStarted(robots))

    def event(self, at_ms: int, source: str, event: AnyEvent, incarnation: int = 1) -> None:
        """One more event, so long after `go`."""
        number = self._numbers[source] = self._numbers.get(source, 0) + 1
        at_us = GO_US + at_ms * 1000
        self.scene.handle(Stamped("f00000", source, incarnation, number, at_us, at_us, event))
