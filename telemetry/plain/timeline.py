"""Lines in order of time: each is held back for a moment, because what happened before it may be reported after it.
Time is the caller's: nothing here waits.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final

HELD_BACK_US: Final = 300_000
"""Events of all processes are here so long after they happened: they are sent, and read, several times a second."""

_BEFORE: Final = "before go"


class Timeline:
    """`write_line` gets each line with its time: seconds after `go_us`, which is None while `go` was not given."""

    def __init__(self, write_line: Callable[[str], None]) -> None:
        self.go_us: int | None = None
        self._write_line = write_line
        self._waiting: list[tuple[int, int, str]] = []
        self._added = 0
        self._written_us = 0

    def add(self, at_us: int, text: str) -> None:
        """A line of that moment, for later."""
        self._added += 1
        heappush(self._waiting, (at_us, self._added, text))

    def write_until(self, until_us: int) -> None:
        """Write all lines of moments until then."""
        while self._waiting and self._waiting[0][0] <= until_us:
            self._write(heappop(self._waiting))

    def write_all(self) -> None:
        """Write what is left."""
        while self._waiting:
            self._write(heappop(self._waiting))

    def _write(self, line: tuple[int, int, str]) -> None:
        at_us, _, text = line
        late = "  (reported late)" if at_us < self._written_us else ""
        self._written_us = max(at_us, self._written_us)
        is_before = self.go_us is None or at_us < self.go_us
        self._write_line(dated(text + late, None if is_before else (at_us - (self.go_us or 0)) / 1e6))


def dated(text: str, at_s: float | None) -> str:
    """A line with its time: seconds after `go`, or None before it."""
    time = _BEFORE if at_s is None else f"{at_s:.3f}s"
    return f"{time:>9}  {text}"
