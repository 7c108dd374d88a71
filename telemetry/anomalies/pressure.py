"""Channel pressure: a channel inside a robot, its outbox or its inbox dropped something.

One such event is enough: a healthy run drops nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from telemetry.anomalies.rule import Handle, Observed
from telemetry.events import ChannelPressure, Event, InboxOverflowed, Stamped

CHANNEL_PRESSURE: Final = "channel pressure"


class Pressure:
    """The rule. `about` is a robot and a channel: `r03/outbox`."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._last_us: dict[str, int] = {}
        self.handlers: Mapping[type[Event], Handle] = {
            ChannelPressure: self._dropped,
            InboxOverflowed: self._overflowed,
        }

    def check(self) -> None:
        over_us = self._observed.us(self._observed.thresholds.over_ticks)
        for about, last_us in list(self._last_us.items()):
            if self._observed.now_us - last_us >= over_us:
                del self._last_us[about]
                self._observed.active.end(CHANNEL_PRESSURE, about)

    def _dropped(self, event: ChannelPressure, stamped: Stamped) -> None:
        self._add(f"{stamped.source}/{event.channel}", f"{event.dropped} dropped")

    def _overflowed(self, event: InboxOverflowed, stamped: Stamped) -> None:
        self._add(f"{stamped.source}/inbox", f"{event.lost} lost")

    def _add(self, about: str, detail: str) -> None:
        self._last_us[about] = self._observed.now_us
        self._observed.active.begin(CHANNEL_PRESSURE, about, detail)
