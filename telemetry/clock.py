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
    """The machine's own clocks."""

    def monotonic_us(self) -> int:
        return time.monotonic_ns() // 1000

    def wall_us(self) -> int:
        return time.time_ns() // 1000
