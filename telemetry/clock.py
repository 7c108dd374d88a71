"""Time as a value that is handed in. Nothing here may wait: waiting belongs to the event loop or to a driver."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from. Simulated and live code ask the same two questions."""

    def monotonic_us(self) -> int:
        """Microseconds since an arbitrary point; never goes back. For intervals."""
        ...

    def wall_us(self) -> int:
        """Microseconds since 1970-01-01 UTC. For reading by people, and for comparing with a server's ids."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic_us(self) -> int:
        return time.monotonic_ns() // 1000

    def wall_us(self) -> int:
        return time.time_ns() // 1000
