"""A detector at work in the process that leads a run, or stands by to lead it: it never harms the run.

An error in a rule costs the event that showed it, is logged once with its traceback, and reaches nothing else.
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
        self._detector = detector
        self._has_failed = False
        self._clock = clock
        self._emit = emit

    def observe(self, stamped: Stamped) -> None:
        """Take in an event that was read or emitted now."""
        try:
            self._detector.observe(stamped, self._clock.monotonic_us())
        except Exception:  # an error in a rule stays here
            self._report_failure()

    def poll(self, is_leading: bool) -> None:
        """Called in every step in which the run could be observed. Only the leader emits what was found."""
        try:
            self._detector.advance(self._clock.monotonic_us())
            announcements = self._detector.announcements() if is_leading else []
        except Exception:
            self._report_failure()
            return
        for announcement in announcements:
            self._emit(announcement)

    def _report_failure(self) -> None:
        if not self._has_failed:
            self._has_failed = True
            logging.getLogger("robots").exception("a rule of anomalies failed; it goes on with the next event")
