"""What the app is given from outside: the run that it shows, and the knobs that change it. Signatures only."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from telemetry.drawing.moment import Status
from telemetry.scene.scene import Scene


class Stage(Protocol):
    """A run as it goes on, or as it is replayed. None of its methods blocks."""

    @property
    def scene(self) -> Scene | None:
        """The scene now; None while nothing is known yet. It is another object after a step back."""
        ...

    @property
    def status(self) -> Status:
        """How it is watched now."""
        ...

    def advance(self) -> None:
        """Fold what is new since the last call."""
        ...

    def close(self) -> None:
        """End what it started."""
        ...


@runtime_checkable
class Playback(Stage, Protocol):
    """A stage whose time a person moves."""

    def play(self, is_playing: bool) -> None:
        """Go on, or stand still."""
        ...

    def set_speed(self, speed: float) -> None:
        """So many seconds of the run in a second."""
        ...

    def seek(self, since_start_us: int) -> None:
        """Go to that time since the first event."""
        ...

    def step(self, events: int) -> None:
        """So many events on, or back."""
        ...

    def step_ticks(self, ticks: int) -> None:
        """So many ticks of the robots on, or back."""
        ...


class Controls(Protocol):
    """The knobs of a live run: each method waits for the outcome, and may take seconds. They raise nothing: what went
    wrong is in the lines, which are for people."""

    def request(self, fault: str) -> list[str]:
        """Put faults in force (`loss .5`), or inject process faults at once (`kill r03`)."""
        ...

    def clear(self, what: str) -> list[str]:
        """End a fault: its name, its text or its number (`#4`)."""
        ...

    def heal(self) -> list[str]:
        """End every fault that has begun."""
        ...

    def go(self) -> list[str]:
        """Let a run begin that waits for a person."""
        ...

    def stop(self) -> list[str]:
        """Stop the run in order."""
        ...

    def command_of(self, verb: str, argument: str = "") -> str:
        """The command that does the same at another terminal."""
        ...
