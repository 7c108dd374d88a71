"""Recordings of simulated runs, and scenes as plain values that can be compared. No tests here."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec

from deploy.observing.event_tail import in_time
from telemetry.events import Stamped
from telemetry.scene.scene import Scene
from telemetry.watch.playback import Replay
from telemetry.watch.recording import Recording
from tests.support.recorded_settings import settings_of
from tests.telemetry.tracing.simulated import history


@cache
def recorded(preset: str = "storm", seed: int = 7, robots: int = 6, has_chaos: bool = True) -> Recording:
    """A run with its verdict."""
    run = history(preset, seed, robots=robots, has_chaos=has_chaos)
    return Recording(run.settings, run.dealt, in_time(run.events), result=result_of(), secret="oak and ash " * 8)


def empty() -> Recording:
    """A run of which no event was recorded."""
    return Recording(settings_of(), (), [])


def result_of(**changes: object) -> dict[str, Any]:
    """A verdict in which each state occurs, as `--json` prints it."""
    promises = {
        "once": {"state": "HELD", "why": "r04 wrote it; attempts of others that were refused: 2", "tested": 3},
        "right": {
            "state": "BROKEN",
            "why": "71 bytes were written, 72 were dealt (witness: register.json)",
            "tested": 1,
        },
        "patient": {"state": "UNPROVEN", "why": f"r04 was quiet{' and quiet' * 30}", "tested": 0},
        "supervised": {"state": "HELD", "why": "no death of a robot, and no crash of a worker", "tested": 0},
        **{f"other {number}": {"state": "HELD", "why": "because", "tested": 1} for number in range(9)},
    }
    messages = {"sent": 120, "lost": 30, "per_robot": 20.0}
    result = {
        "verdict": "BROKEN",
        "run": "5eed01",
        "promises": promises,
        "winner": "r04",
        "winner_incarnation": 2,
        "ended": "complete",
        "seconds": {"born": 0.1, "first_complete": 0.5, "written": 1.25, "all_complete": 2.0, "total": 3.0},
        "until_complete": {"messages": messages},
        "whole_run": {"recoveries": {"count": 5, "p50_s": 0.05, "max_s": 0.2}},
        "record": "runs/5eed01",
        "again": "robots simulate -n 6 --seed 7",
    }
    return {**result, **changes}


def value_of(thing: object) -> object:
    """A scene, or a part of one, as plain values."""
    if isinstance(thing, msgspec.Struct):
        return type(thing).__name__, [value_of(getattr(thing, name)) for name in thing.__struct_fields__]
    if isinstance(thing, Mapping):
        return {key: value_of(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple | deque):
        return [value_of(each) for each in thing]
    if isinstance(thing, set | frozenset):
        return sorted(map(str, thing))
    if type(thing).__module__.startswith("telemetry."):
        names = (*getattr(thing, "__dict__", {}), *getattr(thing, "__slots__", ()))
        return {name: value_of(getattr(thing, name)) for name in names}
    return thing


def fresh(recording: Recording, events: int, now_us: int) -> Scene:
    """The scene of the first `events`, folded from the beginning."""
    scene = Scene(recording.settings, recording.dealt)
    stamped: Stamped
    for stamped in recording.events[:events]:
        scene.handle(stamped)
    scene.now_us = now_us
    return scene


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now_us = 0

    def __call__(self) -> int:
        return self.now_us

    def pass_s(self, seconds: float) -> None:
        """Let time pass."""
        self.now_us += round(seconds * 1e6)


def replayed(recording: Recording, clock: Clock | None = None, speed: float = 1.0) -> Replay:
    """Its replay, at the beginning."""
    return Replay(recording, clock or Clock(), speed)
