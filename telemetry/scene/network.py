"""What the relays did: envelopes and their fates, in total and lately, and how far behind each relay is."""

from __future__ import annotations

from typing import Final, NamedTuple

from telemetry.events import FatesDecided, Stamped
from telemetry.view import View

KEPT_US: Final = 60_000_000
GRAIN_US: Final = 200_000  # what is counted together, and shown as one moment


class Fates(NamedTuple):
    """Envelopes by what became of them."""

    offered: int = 0
    lost: int = 0
    duplicated: int = 0
    delayed: int = 0
    corrupted: int = 0
    stale: int = 0
    refused: int = 0

    @classmethod
    def of(cls, batch: FatesDecided) -> Fates:
        """Those of a relay's batch."""
        return cls(
            batch.offered,
            batch.lost,
            batch.duplicated,
            batch.delayed,
            batch.corrupted,
            batch.stale,
            batch.refused,
        )

    def plus(self, other: Fates) -> Fates:
        """The sum."""
        return Fates(
            self.offered + other.offered,
            self.lost + other.lost,
            self.duplicated + other.duplicated,
            self.delayed + other.delayed,
            self.corrupted + other.corrupted,
            self.stale + other.stale,
            self.refused + other.refused,
        )


_NONE: Final = Fates()


class Network:
    """`total` of the run; `held`: envelopes that a partition holds back now; `lag_us`: by shard, of its last batch."""

    def __init__(self, shards: int) -> None:
        self.total = _NONE
        self.held = 0
        self.lag_us: list[int | None] = [None] * shards
        self._grains: dict[int, Fates] = {}  # by the grain of the wall clock

    def lately(self, now_us: int, span_us: int) -> Fates:
        """The fates of the last `span_us`, at most KEPT_US; to GRAIN_US exactly."""
        first, last = (now_us - span_us) // GRAIN_US, now_us // GRAIN_US
        total = _NONE
        for grain, fates in self._grains.items():
            if first < grain <= last:
                total = total.plus(fates)
        return total

    def handle(self, stamped: Stamped, view: View) -> None:  # noqa: ARG002
        """Count a relay's batch."""
        event = stamped.event
        if not isinstance(event, FatesDecided):
            return
        fates = Fates.of(event)
        self.total = self.total.plus(fates)
        self.held = max(0, self.held + event.kept - event.freed)
        if event.shard < len(self.lag_us):
            self.lag_us[event.shard] = event.lag_us
        grain, grains = stamped.wall_us // GRAIN_US, self._grains
        grains[grain] = grains.get(grain, _NONE).plus(fates)
        if len(grains) > KEPT_US // GRAIN_US:
            del grains[next(iter(grains))]

    def copy(self) -> Network:
        other = Network(len(self.lag_us))
        other.total, other.held, other.lag_us = self.total, self.held, self.lag_us[:]
        other._grains = self._grains.copy()
        return other
