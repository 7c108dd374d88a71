"""The rules by name, with what each finds: for people, and the only place where a rule has its name.

How a rule decides stands in a file of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from telemetry.anomalies.thresholds import DEFAULTS

RESTART_STORM: Final = "restart storm"
STUCK_ROBOT: Final = "stuck robot"
CHANNEL_PRESSURE: Final = "channel pressure"
FAULT_RATE_OFF: Final = "fault rate off"
FLAPPING_QUIET: Final = "flapping quiet"
RELAY_LAG: Final = "relay lag"
LATE_BEAT: Final = "late beat"
UNHEARD_ROBOT: Final = "unheard robot"
DEAF_ROBOT: Final = "deaf robot"
DUPLICATE_STORM: Final = "duplicate storm"

_T: Final = DEFAULTS
RULES: Final[Mapping[str, str]] = MappingProxyType(
    {
        RESTART_STORM: f"{_T.restarts} births of a robot after its first, or restarts of one worker, within"
        f" {_T.restart_ticks:g} ticks; over after {_T.over_ticks:g} ticks without one",
        STUCK_ROBOT: f"a robot is not complete and merges nothing for {_T.stuck_ticks:g} ticks, while a living robot"
        " holds more parts",
        CHANNEL_PRESSURE: "a channel, an outbox or an inbox of a robot drops something; over after"
        f" {_T.over_ticks:g} ticks without that",
        FAULT_RATE_OFF: f"far more or far fewer of the last {_T.rate_envelopes} to {_T.rate_window} envelopes are lost"
        f" than the plan's one loss makes likely: the probability of that is below {_T.rate_begin_odds:g}; over when it"
        f" is above {_T.rate_end_odds:g}",
        FLAPPING_QUIET: f"a quiet robot is disturbed {_T.disturbances} times within {_T.disturbance_ticks:g} ticks",
        RELAY_LAG: f"an envelope waits more than {_T.lag_ticks:g} ticks for its fate, or none is decided for"
        f" {_T.silent_relay_ticks:g} ticks after one was sent; over when one waits less than {_T.lag_over_ticks:g}",
        LATE_BEAT: f"a living robot emits no event for {_T.beat_ticks:g} ticks; a passive one emits one every 10",
        UNHEARD_ROBOT: f"the last {_T.unheard} envelopes that a robot sent did not arrive; or its last"
        f" {_T.unheard_few}, when the first of these was sent {_T.unheard_few_ticks:g} ticks ago",
        DEAF_ROBOT: "the same of the envelopes that were sent to a robot",
        DUPLICATE_STORM: f"more than {_T.copies_begin_share:.0%} of the last {_T.copies_window} copies that were"
        f" received had come before; over below {_T.copies_end_share:.0%}",
    }
)
"""By name: when an anomaly begins under the thresholds' defaults, and when it is over."""
