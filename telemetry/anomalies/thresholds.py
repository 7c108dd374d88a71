"""The thresholds of all rules, in one struct. Times are in ticks of the run, so that they hold for slow and fast runs.

Only values live here, with how a person writes them; what a rule does with them stands in its own file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, get_type_hints

import msgspec

Ticks = Annotated[float, msgspec.Meta(gt=0, le=1_000_000)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Number = Annotated[int, msgspec.Meta(ge=1, le=100_000)]


class Thresholds(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """When an anomaly begins and ends. Names end with what they count: `_ticks`, `_share` (0..1), `_odds` (a
    probability); all else are numbers of things."""

    restarts: Number = 3  # restart storm: births after the first, or restarts of one worker,
    restart_ticks: Ticks = 100  # within this time
    disturbances: Number = 3  # flapping quiet: a quiet robot was disturbed so often,
    disturbance_ticks: Ticks = 100  # within this time
    over_ticks: Ticks = 50  # without another one, until a storm, a flapping or a pressure is over
    stuck_ticks: Ticks = 20  # stuck robot: nothing new for so long, while a living robot holds more
    beat_ticks: Ticks = 15  # late beat: no event of a living robot; a passive one emits one every 10 ticks
    lag_ticks: Ticks = 2  # relay lag: an envelope waited so long for its fate
    lag_over_ticks: Ticks = 0.5  # and until it is over, at most so long
    silent_relay_ticks: Ticks = 5  # relay lag too: something was sent, and no fate came for so long
    unheard: Number = 30  # unheard robot, deaf robot: so many envelopes in a row
    unheard_few: Number = 12  # or so many,
    unheard_few_ticks: Ticks = 100  # the first of them so old
    transit_ticks: Ticks = 5  # an envelope counts as not received when it is so old
    rate_envelopes: Number = 200  # fault rate off: at least so many under one plan
    rate_window: Number = 400  # and the newest of them
    rate_begin_odds: Share = 1e-6  # that so few or so many are lost by chance
    rate_end_odds: Share = 1e-3
    copies_window: Number = 200  # duplicate storm: of the last so many received
    copies_begin_share: Share = 0.5  # more than this share had come before
    copies_end_share: Share = 0.25


DEFAULTS = Thresholds()


def read_thresholds(value: Any) -> Thresholds:
    """Thresholds in a table (`{"stuck_ticks": 30}`) or a text (`stuck_ticks 30, unheard 20`); the others are the
    defaults. Raises ValueError."""
    if isinstance(value, Thresholds):
        return value
    table = value if isinstance(value, Mapping) else _table(str(value))
    for name in table:
        if name not in Thresholds.__struct_fields__:
            raise ValueError(f"{name!r} is no threshold; allowed are {', '.join(Thresholds.__struct_fields__)}")
    for name, number in table.items():
        try:
            msgspec.convert({name: number}, Thresholds)
        except msgspec.ValidationError:
            raise ValueError(f"{name}: {number!r} is outside of what is allowed: {_allowed(name)}") from None
    return msgspec.convert(table, Thresholds)


def format_thresholds(thresholds: Thresholds) -> str:
    """The text that `read_thresholds` reads: those that are not the defaults."""
    table: dict[str, float] = msgspec.to_builtins(thresholds)
    return ", ".join(f"{name} {value:g}" for name, value in table.items())


def _allowed(name: str) -> str:
    match get_type_hints(Thresholds)[name], get_type_hints(Thresholds, include_extras=True)[name].__metadata__:
        case kind, (msgspec.Meta(gt=above, ge=least, le=most),):
            what = "a whole number" if kind is int else "a number"
            return f"{what} above {above}, {most} at most" if least is None else f"{what} from {least} to {most}"
    raise AssertionError(name)


def _table(text: str) -> dict[str, float]:
    table = {}
    for pair in filter(None, (pair.strip() for pair in text.split(","))):
        name, *rest = pair.replace("=", " ").split()
        try:
            [number] = map(float, rest)
        except ValueError:
            raise ValueError(f"{pair!r} is no threshold with a number, such as stuck_ticks 30") from None
        table[name] = int(number) if number.is_integer() else number
    return table
