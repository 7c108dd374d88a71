"""What the app is given from outside: the run that it shows, and the knobs that change it. Signatures only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

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


class Reply(NamedTuple):
    """What became of a request to a run, in `lines` for people; `is_done`: it was neither refused nor left open."""

    lines: Sequence[str]
    is_done: bool


class Controls(Protocol):
    """The knobs of a live run. A request waits for its outcome, and may take seconds; it raises nothing: what went
    wrong is in the reply's lines."""

    @property
    def workers(self) -> Sequence[str]:
        """The workers of a robot that can be crashed."""
        ...

    def request(self, fault: str) -> Reply:
        """Put faults in force (`loss .5`), or inject process faults at once (`kill r03`)."""
        ...

    def clear(self, what: str) -> Reply:
        """End a fault: its name, its text or its number (`#4`)."""
        ...

    def heal(self) -> Reply:
        """End every fault that has begun."""
        ...

    def go(self) -> Reply:
        """Let a run begin that waits for a person."""
        ...

    def stop(self) -> Reply:
        """Stop the run in order."""
        ...

    def command_of(self, verb: str, argument: str = "") -> str:
        """The command that does the same at another terminal: `set` and `clear` with a fault's text, `heal`, `go`,
        `stop`, or a process fault's name with its target (`kill`, `r03`)."""
        ...
