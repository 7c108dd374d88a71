"""Relay lag: envelopes wait long for their fate, or something was sent and no fate comes at all.

The events of robots and relays are read in any order. So an envelope counts as undecided only when it was offered after
the relay's newest decision, by the stamps of both; the silence after that is the observer's time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from telemetry.anomalies.catalogue import RELAY_LAG
from telemetry.anomalies.rule import Handle, Observed
from telemetry.events import Event, FatesDecided, MessageSent, Stamped

ShardOf = Callable[[str], int]
"""The shard of a robot. Raises ValueError for a name that is no robot's."""


class _Relay(msgspec.Struct):
    decided_wall_us: int = 0  # its newest decision
    owing_us: int | None = None  # since when something is undecided


class RelayLag:
    """The rule, for each shard."""

    def __init__(self, observed: Observed, shard_of: ShardOf) -> None:
        self._observed = observed
        self._shard_of = shard_of
        self._shards: dict[str, int] = {}  # by robot
        self._relays: dict[int, _Relay] = {}
        self._slack_us = observed.us(0.5)  # between the clocks of two hosts
        self.handlers: Mapping[type[Event], Handle] = {FatesDecided: self._decided, MessageSent: self._sent}

    def check(self) -> None:
        silence_us = self._observed.silence_us(self._observed.thresholds.silent_relay_ticks)
        for shard, relay in self._relays.items():
            owing_us = 0 if relay.owing_us is None else self._observed.now_us - relay.owing_us
            if owing_us >= silence_us:
                detail = f"something was sent, and no fate was decided for {owing_us / 1e6:.1f} s"
                self._observed.active.begin(RELAY_LAG, f"relay:{shard}", detail)

    def _decided(self, event: FatesDecided, stamped: Stamped) -> None:
        relay = self._relays.setdefault(event.shard, _Relay())
        relay.decided_wall_us = max(relay.decided_wall_us, stamped.wall_us)
        relay.owing_us = None
        thresholds, about = self._observed.thresholds, f"relay:{event.shard}"
        if event.lag_us > self._observed.us(thresholds.lag_ticks):
            self._observed.active.begin(RELAY_LAG, about, f"an envelope waited {event.lag_us / 1e6:.2f} s for its fate")
        elif event.lag_us < self._observed.us(thresholds.lag_over_ticks):
            self._observed.active.end(RELAY_LAG, about)

    def _sent(self, event: MessageSent, stamped: Stamped) -> None:
        shard = self._shards.get(stamped.source)
        if shard is None:
            try:
                shard = self._shards[stamped.source] = self._shard_of(stamped.source)
            except ValueError:
                return  # the name of no robot
        relay = self._relays.setdefault(shard, _Relay())
        offered_us = stamped.wall_us - event.waited_us
        if relay.owing_us is None and offered_us > relay.decided_wall_us + self._slack_us:
            relay.owing_us = self._observed.now_us
