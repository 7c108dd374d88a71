"""What the relays did: envelopes and their fates, in total and lately, and how far behind each relay is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from telemetry.events import FatesDecided, Stamped
from telemetry.view import View

KEPT_US: Final = 60_000_000


class Fates(NamedTuple):
    """Envelopes by what became of them."""

    offered: int = 0
    lost: int = 0
    duplicated: int = 0
    delayed: int = 0
    corrupted: int = 0
    stale: int = 0
    refused: int = 0

    def plus(self, other: Fates) -> Fates:
        """The sum."""
        return Fates(*map(sum, zip(self, other, strict=True)))


class _Batch(NamedTuple):
    at_us: int
    fates: Fates


class Network:
    """`total` of the run; `held`: envelopes that a partition holds back now; `lag_us`: by shard, of its last batch."""

    def __init__(self, shards: int) -> None:
        self.total = Fates()
        self.held = 0
        self.lag_us: list[int | None] = [None] * shards
        self._batches: tuple[_Batch, ...] = ()

    def lately(self, now_us: int, span_us: int) -> Fates:
        """The fates of the last `span_us`, at most KEPT_US."""
        return _sum(batch.fates for batch in self._batches if batch.at_us > now_us - span_us)

    def handle(self, stamped: Stamped, view: View) -> None:  # noqa: ARG002
        """Count a relay's batch."""
        event = stamped.event
        if not isinstance(event, FatesDecided):
            return
        fates = Fates(
            event.offered,
            event.lost,
            event.duplicated,
            event.delayed,
            event.corrupted,
            event.stale,
            event.refused,
        )
        self.total = self.total.plus(fates)
        self.held = max(0, self.held + event.kept - event.freed)
        if event.shard < len(self.lag_us):
            self.lag_us[event.shard] = event.lag_us
        self._batches = (*_since(self._batches, stamped.wall_us - KEPT_US), _Batch(stamped.wall_us, fates))

    def copy(self) -> Network:
        other = Network(len(self.lag_us))
        other.total, other.held, other.lag_us, other._batches = self.total, self.held, self.lag_us[:], self._batches
        return other


def _since(batches: tuple[_Batch, ...], at_us: int) -> tuple[_Batch, ...]:
    """Without those that are older; it is called for each batch, so few are."""
    old = 0
    while old < len(batches) and batches[old].at_us < at_us:
        old += 1
    return batches[old:]


def _sum(several: Iterable[Fates]) -> Fates:
    total = Fates()
    for each in several:
        total = total.plus(each)
    return total
