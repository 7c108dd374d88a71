"""Duplicate storm: of what the robots receive, most has come before.

Copies that a fault made and those that a relay repeated count alike.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

from telemetry.anomalies.catalogue import DUPLICATE_STORM
from telemetry.anomalies.rule import Handle, Observed
from telemetry.events import Event, MessageReceived, MessageRepeated, Stamped

_ABOUT: Final = "network"


class Duplicates:
    """The rule: a window of the last copies that were received, anywhere in the run."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._window: deque[bool] = deque(maxlen=observed.thresholds.copies_window)
        self._repeats = 0
        self.handlers: Mapping[type[Event], Handle] = {
            MessageReceived: self._received,
            MessageRepeated: self._repeated,
        }

    def check(self) -> None:
        thresholds, number = self._observed.thresholds, len(self._window)
        if number < thresholds.copies_window:
            return
        share = self._repeats / number
        if share > thresholds.copies_begin_share:
            self._observed.active.begin(DUPLICATE_STORM, _ABOUT, f"{self._repeats} of the last {number} received")
        elif share < thresholds.copies_end_share:
            self._observed.active.end(DUPLICATE_STORM, _ABOUT)

    def _received(self, event: MessageReceived, _stamped: Stamped) -> None:
        self._add(event.copy > 0)

    def _repeated(self, _event: MessageRepeated, _stamped: Stamped) -> None:
        self._add(True)

    def _add(self, is_repeat: bool) -> None:
        if len(self._window) == self._window.maxlen:
            self._repeats -= self._window[0]
        self._window.append(is_repeat)
        self._repeats += is_repeat
