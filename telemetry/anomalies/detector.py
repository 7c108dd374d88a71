"""The detector: all rules over a run's events and the observer's time, told as events of its own.

Pure: who observes says what time it is. Time in which nothing was observed (the observer stood still, its server was
away) does not count, so that no robot is blamed for it, and neither does time in which the run was held back. Observing
twice the same gives the same.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

import msgspec

from telemetry.anomalies.arrivals import Arrivals
from telemetry.anomalies.duplicates import Duplicates
from telemetry.anomalies.fault_rates import FaultRates
from telemetry.anomalies.relay_lag import RelayLag, ShardOf
from telemetry.anomalies.repeated import RepeatedEvents
from telemetry.anomalies.rule import Handle, Observed, Rule
from telemetry.anomalies.silence import Silence
from telemetry.anomalies.thresholds import DEFAULTS, Thresholds
from telemetry.events import AnomalyBegan, AnomalyEnded, Event, RunHeldBack, RunStarted, RunStopped, Stamped

LONGEST_STEP_US: Final = 250_000
"""Of the observer, who means to take one every few hundredths of a second: a longer one counts as so long."""
_CHECKS: Final = 0.5  # ticks between two checks of what depends on time alone


class AnomalyDetector:
    """Feed it with `observe` and `advance`; what is to be told comes from `announcements`.

    Any number of observers may run one over the same run; each knows from the events what another has told.
    """

    def __init__(self, tick_us: int, shard_of: ShardOf, thresholds: Thresholds = DEFAULTS) -> None:
        self._observed = Observed(tick_us, thresholds)
        self._active = self._observed.active
        self._rules: tuple[Rule, ...] = (
            RepeatedEvents(self._observed),
            Silence(self._observed),
            FaultRates(self._observed),
            RelayLag(self._observed, shard_of),
            Arrivals(self._observed),
            Duplicates(self._observed),
        )
        self._handlers: dict[type[Event], list[Handle]] = defaultdict(list)
        for rule in self._rules:
            for kind, handle in rule.handlers.items():
                self._handlers[kind].append(handle)
        self._adopted_us = self._observed.us(thresholds.over_ticks)
        self._every_us = self._observed.us(_CHECKS)
        self._checked_us = 0
        self._clock_us: int | None = None
        self._is_over = False  # the order to stop was given
        self._is_held_back = False  # robots have nothing to do until a person lets the run begin

    @property
    def settled_us(self) -> int:
        """After so long without any event, nothing begins or ends any more: all times of all thresholds have passed,
        also where one begins to count when another is over."""
        thresholds = msgspec.structs.asdict(self._observed.thresholds)
        spans_us = (self._observed.silence_us(value) for name, value in thresholds.items() if name.endswith("_ticks"))
        return sum(spans_us) + 2 * LONGEST_STEP_US

    def observe(self, stamped: Stamped, now_us: int) -> None:
        """Take in an event that was read at `now_us`, by the observer's monotonic clock."""
        if self._clock_us != now_us:
            self._move(now_us)
        event = stamped.event
        if isinstance(event, AnomalyBegan):
            self._active.note_began(event)
        elif isinstance(event, AnomalyEnded):
            self._active.note_ended(event)
        elif isinstance(event, RunStopped):
            self._is_over = True
        elif isinstance(event, RunHeldBack | RunStarted):
            self._is_held_back = isinstance(event, RunHeldBack)
        elif not self._is_over:
            self._observed.robots.observe(stamped, self._active.now_us)
            for handle in self._handlers.get(type(event), ()):
                handle(event, stamped)

    def advance(self, now_us: int) -> None:
        """The time is `now_us`, and all events until then were taken in. To be called several times in a tick."""
        self._move(now_us)
        if self._is_over or self._active.now_us - self._checked_us < self._every_us:
            return
        self._checked_us = self._active.now_us
        for rule in self._rules:
            rule.check()
        self._active.end_adopted(self._adopted_us)

    def announcements(self) -> list[AnomalyBegan | AnomalyEnded]:
        """What began or ended and was not told in the run's events, by whichever observer. To be emitted now. What
        stands when the run is stopped does not end."""
        return self._active.announcements()

    def _move(self, now_us: int) -> None:
        if self._clock_us is not None and now_us > self._clock_us and not self._is_held_back:
            self._active.now_us += min(now_us - self._clock_us, LONGEST_STEP_US)
        self._clock_us = now_us if self._clock_us is None else max(self._clock_us, now_us)
