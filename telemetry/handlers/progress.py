"""Tells a person who waits where the run stands: a line for each notable event, and at most one a second beside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from telemetry.events import Stamped
from telemetry.pipeline import Next
from telemetry.plain import event_line, is_notable, progress_line
from telemetry.view import View

EVERY_S: Final = 1.0


class Progress:
    """A handler for events, and `look` for the view in between."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self._elapsed_s = 0.0
        self._told_s = 0.0

    def look(self, view: View, elapsed_s: float) -> None:
        """The view after `elapsed_s` seconds of the command."""
        self._elapsed_s = elapsed_s
        if elapsed_s - self._told_s >= EVERY_S:
            self._told_s = elapsed_s
            self.say(progress_line(view, elapsed_s))

    def handle(self, stamped: Stamped, following: Next) -> None:
        if is_notable(stamped):
            self.say(event_line(stamped, self._elapsed_s))
        following(stamped)
