"""Time as a parameter: the clock that components get. Nothing here waits: that is for event loops and drivers."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A source of time, the same for simulated and live code."""

    def monotonic_us(self) -> int:
        """Microseconds since an arbitrary point; never goes back. For intervals."""
        ...

    def wall_us(self) -> int:
        """Microseconds since 1970-01-01 UTC. For people, and for comparison with a server's ids."""
        ...


class SystemClock:
    """The machine's own clocks; its wall clock is known to be wrong by `error_us` (positive: ahead)."""

    def __init__(self, error_us: int = 0) -> None:
        self._error_us = error_us

    def monotonic_us(self) -> int:
        return time.monotonic_ns() // 1000

    def wall_us(self) -> int:
        return time.time_ns() // 1000 - self._error_us


def error_us(asked_us: int, other_us: int, answered_us: int) -> int:
    """By how much a clock is ahead of another one, which showed `other_us` at some moment between its `asked_us` and
    its `answered_us`; 0 while they may be equal. So clocks of one machine never seem to differ, however slow it is."""
    if asked_us <= other_us <= answered_us:
        return 0
    return (asked_us + answered_us) // 2 - other_us
