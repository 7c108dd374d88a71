"""`settings.json`: what a run was given and how it ended, in the one struct that everything but the judge uses.

It holds primitives, because this floor imports none of the others. What a fault's text means is not known here, and
whether a value is allowed for a new run is checked where runs are configured.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from telemetry.anomalies.thresholds import DEFAULTS, Thresholds

Whole = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Instance = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]


class Seconds(msgspec.Struct, frozen=True):
    """Since the command's start (of a run without a parent: since the deal); None for what never came."""

    born: float | None = None
    total: float | None = None


class RunSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A run's settings. `plan` holds the lines at the start, each as its own text, and `instances` the number of each
    line's dice. `exhibit` is the name of what was broken on purpose, None: nothing. `preset` is None when the plan came
    from a file or a record. `ended` (complete, limit, stopped, interrupted or lost) is None while the run goes on.
    `again` is the command that repeats the run. All times are those of the run, which is `pace` times as slow as it was
    written. `anomalies`: the thresholds that differ from the defaults."""

    run: str
    version: str
    mode: Literal["live", "simulated"]
    robots: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    copies: Whole
    seed: Whole
    exhibit: str | None = None
    preset: str | None
    tick_us: Annotated[int, msgspec.Meta(ge=1, le=3_600_000_000)]
    quiet_period_us: Whole
    pace: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1
    for_us: Whole
    limit_us: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    shards: Annotated[int, msgspec.Meta(ge=1, le=1_000)]
    plan: tuple[str, ...]
    instances: tuple[Instance, ...]
    ended: str | None = None
    again: str
    anomalies: Thresholds = DEFAULTS
    closed: bool = False
    hold: bool = False
    parent: bool = False
    seconds: Seconds = Seconds()


def decode_settings(content: bytes) -> RunSettings:
    """The settings in `content`. Raises ValueError, in one line, when it holds none."""
    try:
        return msgspec.json.decode(content, type=RunSettings)
    except RecursionError as error:
        raise ValueError(str(error)) from None


def ended_as(settings: RunSettings, ended: str, born_s: float | None, total_s: float | None) -> RunSettings:
    """The same settings once the end is known."""
    return msgspec.structs.replace(settings, ended=ended, seconds=Seconds(born_s, total_s))
