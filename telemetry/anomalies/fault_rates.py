"""Fault rate off: the relays lose many more or many fewer envelopes than the plan's loss allows.

Looked at only where the plan says a probability: one loss for all, or none at all, and no other fault that loses
envelopes. It is a first hint while a run goes on; the judge recomputes every fate by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from math import exp, inf, lgamma, log, log1p
from typing import Final

from telemetry.anomalies.catalogue import FAULT_RATE_OFF
from telemetry.anomalies.rule import Handle, Observed
from telemetry.events import Event, FatesDecided, PlanChanged, RelayResumed, Stamped

_LOSING: Final = ("loss", "burst-loss", "partition")


class _Shard:
    """What one relay decided under the plan in force: batches of (envelopes, lost), the newest `window` envelopes."""

    def __init__(self) -> None:
        self.loss: float | None = None  # None: the plan says no probability
        self.batches: deque[tuple[int, int]] = deque()
        self.envelopes = self.lost = 0
        self.skipped = 0  # envelopes still to be left out: they may be decided under another plan, or again
        self.is_new = False  # something came since the last check

    def clear(self, skipped: int) -> None:
        self.batches.clear()
        self.envelopes = self.lost = 0
        self.skipped = skipped

    def add(self, envelopes: int, lost: int, window: int) -> None:
        self.batches.append((envelopes, lost))
        self.envelopes += envelopes
        self.lost += lost
        self.is_new = True
        while self.envelopes - self.batches[0][0] >= window:
            gone, gone_lost = self.batches.popleft()
            self.envelopes -= gone
            self.lost -= gone_lost


class FaultRates:
    """The rule, for each shard. Envelopes that a partition keeps were not lost and count at once; when they are freed
    later they do not count again."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._shards: dict[int, _Shard] = {}
        self._checked_us = 0
        self.handlers: Mapping[type[Event], Handle] = {
            PlanChanged: self._changed,
            RelayResumed: self._resumed,
            FatesDecided: self._decided,
        }

    def check(self) -> None:
        """Once a tick: the more often it looks, the sooner chance alone looks like a fault."""
        if self._observed.now_us - self._checked_us < self._observed.us(1):
            return
        self._checked_us = self._observed.now_us
        for number, shard in self._shards.items():
            if shard.is_new and shard.loss is not None:
                self._check_shard(f"relay:{number}", shard, shard.loss)
            shard.is_new = False

    def _check_shard(self, about: str, shard: _Shard, loss: float) -> None:
        thresholds, active = self._observed.thresholds, self._observed.active
        if shard.envelopes < thresholds.rate_envelopes:
            return
        if odds_below(thresholds.rate_begin_odds, shard.lost, shard.envelopes, loss):
            detail = f"{shard.lost} of {shard.envelopes} envelopes lost under loss {loss:g}"
            active.begin(FAULT_RATE_OFF, about, detail)
        elif active.is_active(FAULT_RATE_OFF, about) and not odds_below(
            thresholds.rate_end_odds, shard.lost, shard.envelopes, loss
        ):
            active.end(FAULT_RATE_OFF, about)

    def _changed(self, event: PlanChanged, _stamped: Stamped) -> None:
        shard = self._shards.setdefault(event.shard, _Shard())
        shard.loss = loss_in(event.new)
        shard.clear(1)  # the batch in which the plan came may hold envelopes from before
        self._observed.active.end(FAULT_RATE_OFF, f"relay:{event.shard}")

    def _resumed(self, event: RelayResumed, _stamped: Stamped) -> None:
        if event.shard in self._shards:
            self._shards[event.shard].clear(event.pending)

    def _decided(self, event: FatesDecided, _stamped: Stamped) -> None:
        shard = self._shards.get(event.shard)
        if shard is None or shard.loss is None:
            return
        decided = event.offered + event.kept
        if shard.skipped > 0:
            shard.skipped -= decided
            return
        shard.add(
            decided - event.freed - event.stale - event.refused, event.lost, self._observed.thresholds.rate_window
        )


def loss_in(faults: tuple[str, ...]) -> float | None:
    """The probability that an envelope is lost under these faults, in the grammar's own text; None when it is not the
    same for all, or not known."""
    losing = [words for words in map(str.split, faults) if words and words[0] in _LOSING and words[1:2] != ["hold"]]
    if not losing:
        return 0.0
    [first, *others] = losing
    if others or first[0] != "loss" or len(first) != 2:
        return None
    try:
        return min(1.0, max(0.0, float(first[1])))
    except ValueError:
        return None


def odds_below(limit: float, lost: int, envelopes: int, loss: float) -> bool:
    """Whether chance alone loses so few or so many of the envelopes with a probability below `limit` (binomial, both
    sides)."""
    if loss in (0.0, 1.0):
        return lost != envelopes * loss
    bound = 2 * exp(-envelopes * _divergence(lost / envelopes, loss))  # Chernoff: never below the true value
    if bound >= 1000 * limit:
        return bound < limit
    return 2 * sum(_tail(lost, envelopes, loss)) < limit


def _divergence(share: float, loss: float) -> float:
    """Of Kullback and Leibler, between two coins."""
    one = share * log(share / loss) if share else 0.0
    other = (1 - share) * log((1 - share) / (1 - loss)) if share < 1 else 0.0
    return one + other


def _tail(lost: int, envelopes: int, loss: float) -> Iterator[float]:
    """The probabilities of `lost` and of everything further from the mean."""
    numbers = range(lost, -1, -1) if lost <= envelopes * loss else range(lost, envelopes + 1)
    whole = lgamma(envelopes + 1)
    for number in numbers:
        combinations = whole - lgamma(number + 1) - lgamma(envelopes - number + 1)
        chance = combinations + number * log(loss) + (envelopes - number) * log1p(-loss)
        yield exp(chance) if chance > -inf else 0.0
