"""The line that tells a person how to let a run begin that is held back. Nothing is ordered here."""

from __future__ import annotations

from collections.abc import Callable

from telemetry.phrases import counted
from telemetry.view import View


class HeldBackLine:
    """Prints it once, and again when more robots are born. `how`: what a person may do."""

    def __init__(self, write_line: Callable[[str], None], how: str) -> None:
        self._write_line = write_line
        self._how = how
        self._born = 0  # in the last line

    def observe(self, view: View) -> None:
        """Print it if that is due."""
        if view.is_held_back and view.born > self._born:
            self._born = view.born
            robots = counted(view.dealt, "robot")
            born = f"all {robots} are" if view.born >= view.dealt else f"{view.born} of {robots} are"
            self._write_line(f"{born} born and wait: {self._how}")
