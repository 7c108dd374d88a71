"""What a page is drawn from: the scene of a run at one moment, how it is watched, and what a person chose to see."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from telemetry.scene.scene import Scene

Page = Literal["overview", "robots", "faults", "supervision", "events", "verdict"]


class Status(msgspec.Struct, frozen=True):
    """How the run is watched. `cost`: the observer's own use of a core, 0..1; `lag_us`: how old the newest event was
    when it was read; `missed`: events that never came; `away_s`: for how long the server has not answered; `result`:
    the verdict as `--json` prints it, once there is one; `secret`: what was written, once that is known; `diagnosis`:
    why the run makes no progress."""

    mode: Literal["live", "replay"] = "live"
    is_over: bool = False
    is_held: bool = False  # it waits for a person's go
    is_read_only: bool = False
    is_playing: bool = True  # of a replay
    speed: float = 1.0
    length_us: int = 0  # of a replay, from its first event on
    cost: float | None = None
    lag_us: int | None = None
    missed: int = 0
    away_s: float = 0.0
    diagnosis: tuple[str, ...] = ()
    result: Mapping[str, Any] | None = None
    secret: str = ""
    folder: Path | None = None
    trouble: str = ""  # why nothing more comes, if so


class KnobState(msgspec.Struct, frozen=True):
    """What a person is about to change. `target`: a robot, empty: everyone; `knob` and `pending`: the one that was
    turned, and its new arguments, while they are not applied; `same_as`: the commands that would do it; `busy`: what is
    being done now; `log`: what became of requests, the newest last."""

    target: str = ""
    knob: str = ""
    pending: str = ""
    same_as: str = ""
    busy: str = ""
    log: tuple[str, ...] = ()


class Chosen(msgspec.Struct, frozen=True):
    """What a person chose to see. `cursor`: the row, of those that the page lists; `robot`: the one in detail, empty:
    none; `event`: the row of the page of events that is shown in detail, likewise; `panel`: the one that fills the
    page, empty: none; `behind`: events that wait while the view is paused."""

    page: Page = "overview"
    cursor: int = 0
    robot: str = ""
    event: str = ""
    tab: int = 0
    panel: str = ""
    filter: str = ""
    sort: int = 0
    is_reversed: bool = False
    is_only_trouble: bool = False
    is_following: bool = True  # the newest event
    is_paused: bool = False
    behind: int = 0
    hertz: int = 4
    knobs: KnobState = KnobState()


class Moment(NamedTuple):
    """All of it."""

    scene: Scene
    status: Status
    chosen: Chosen
