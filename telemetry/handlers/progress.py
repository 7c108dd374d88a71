"""Prints the progress of a run: a line for each notable event, at most one line a second about the view, and why there
is no progress, each cause once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from telemetry.console import absence_line, event_line, harmless, is_notable, progress_line
from telemetry.diagnosis.stalls import StallWatch
from telemetry.events import RunDealt, Stamped
from telemetry.pipeline import Next
from telemetry.view import View

EVERY_S: Final = 1.0


class Progress:
    """A handler for events, and `observe` for the view in between.

    `write_line` prints a line. Events have their own time: since `zero_us` of the wall clock, or, when that is None,
    since the deal. `stalls` notices when there is no progress.
    """

    def __init__(
        self, write_line: Callable[[str], None], zero_us: int | None = None, stalls: StallWatch | None = None
    ) -> None:
        self.write_line = write_line
        self._zero_us = zero_us
        self._stalls = stalls
        self._printed_s = 0.0

    def observe(self, view: View, now_us: int, away_s: float = 0.0) -> None:
        """Print the view at `now_us` of the wall clock; the server has not answered for `away_s` seconds."""
        elapsed_s = self._since_s(now_us)
        if view.dealt and elapsed_s - self._printed_s >= EVERY_S:
            self._printed_s = elapsed_s
            is_there = away_s < EVERY_S
            self.write_line(progress_line(view, elapsed_s) if is_there else absence_line(away_s, elapsed_s))
        if self._stalls is not None:
            if away_s >= EVERY_S:
                self._stalls.forget(now_us)
            for line in self._stalls.observe(view, now_us):
                self.write_line(f"{elapsed_s:6.1f}s  {harmless(line)}")

    def handle(self, stamped: Stamped, following: Next) -> None:
        if self._zero_us is None and isinstance(stamped.event, RunDealt):
            self._zero_us = stamped.wall_us
        if is_notable(stamped):
            self.write_line(event_line(stamped, self._since_s(stamped.wall_us)))
        following(stamped)

    def _since_s(self, at_us: int) -> float:
        return 0.0 if self._zero_us is None else max(0, at_us - self._zero_us) / 1e6
