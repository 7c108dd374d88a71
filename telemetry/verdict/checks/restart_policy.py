"""The restart policy, once more from the specification: what a supervisor may do after a crash. Judges nothing.

At most 5 restarts in any 30 s, each after a delay of 20 ms that doubles up to 2 s, plus or minus a fifth; then it gives
up. The restart itself may take 5 s more for a robot, whose process is new, and 1 s more for a worker inside it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

MOST_RESTARTS: Final = 5
WINDOW_US: Final = 30_000_000
ROBOTS_GRACE_US: Final = 5_000_000
WORKERS_GRACE_US: Final = 1_000_000
_FIRST_DELAY_US: Final = 20_000
_LONGEST_DELAY_US: Final = 2_000_000
_JITTER: Final = 0.2


def recent(crashes_us: Sequence[int], now_us: int, window_us: int = WINDOW_US) -> int:
    """How many of `crashes_us` (sorted) lie in the window that ends at `now_us`."""
    return bisect_right(crashes_us, now_us) - bisect_right(crashes_us, now_us - window_us)


def shortest_us(crashes: int) -> int:
    """The shortest delay after the last of so many charged crashes in a window; 0 after none."""
    return round(_delay_us(crashes) * (1 - _JITTER)) if crashes else 0


def longest_us(crashes: int) -> int:
    """The longest delay after the last of so many charged crashes in a window; after none, that of a first one."""
    return round(_delay_us(max(1, crashes)) * (1 + _JITTER))


def _delay_us(crashes: int) -> int:
    return int(min(_FIRST_DELAY_US * 2 ** (crashes - 1), _LONGEST_DELAY_US))
