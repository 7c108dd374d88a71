"""Events of a run that begins at second 0, and the stories made of them. No tests here."""

from __future__ import annotations

from collections.abc import Sequence

from telemetry.events import AnyEvent, RunDealt, RunStarted, Stamped
from telemetry.stories.stories import Stories
from telemetry.stories.story import Story

GO_US = 1_000_000_000_000_000


def stamped(at_s: float, event: AnyEvent, source: str = "lab", life: int = 1) -> Stamped:
    return Stamped("f00000", source, life, 1, GO_US + round(at_s * 1e6), 0, event)


class Reported:
    """A run of some robots, and what is told of it."""

    def __init__(self, robots: int = 4) -> None:
        self.stories = Stories()
        self.event(-1, RunDealt(robots, 11))
        self.event(0, RunStarted(robots))

    def event(self, at_s: float, event: AnyEvent, source: str = "lab", life: int = 1) -> None:
        self.stories.handle(stamped(at_s, event, source, life))

    def until(self, at_s: float) -> Sequence[Story]:
        """All but how the run began."""
        return [story for story in self.stories.until(GO_US + round(at_s * 1e6)) if story.at_us > GO_US]

    def texts(self, at_s: float) -> list[str]:
        return [f"{(story.at_us - GO_US) / 1e6:.3f} {story.text}" for story in self.until(at_s)]
