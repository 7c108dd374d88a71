"""A detector at work in the process that leads a run, or stands by to lead it: it never harms the run.

An error in a rule ends the watch, is logged once with its traceback, and reaches nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from telemetry.anomalies.detector import AnomalyDetector
from telemetry.clock import Clock
from telemetry.events import AnyEvent, Stamped


class AnomalyWatch:
    """Gives a detector the events and the time, and emits what it finds. All emitted events must come back through
    `observe`, as those of any other observer."""

    def __init__(self, detector: AnomalyDetector, clock: Clock, emit: Callable[[AnyEvent], None]) -> None:
        self._detector: AnomalyDetector | None = detector
        self._clock = clock
        self._emit = emit

    def observe(self, stamped: Stamped) -> None:
        """Take in an event that was read or emitted now."""
        if self._detector is None:
            return
        try:
            self._detector.observe(stamped, self._clock.monotonic_us())
        except Exception:  # an error in a rule stays here
            self._give_up()

    def poll(self, is_leading: bool) -> None:
        """Called in every step in which the run could be observed. Only the leader emits what was found."""
        if self._detector is None:
            return
        try:
            self._detector.advance(self._clock.monotonic_us())
            announcements = self._detector.announcements() if is_leading else []
        except Exception:
            self._give_up()
            return
        for announcement in announcements:
            self._emit(announcement)

    def _give_up(self) -> None:
        self._detector = None
        logging.getLogger("robots").exception("anomalies are not watched any more")
