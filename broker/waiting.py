"""Things that wait for their time, the earliest first: a heap that knows how much it holds. It knows no relay."""

from __future__ import annotations

import heapq
from typing import Final, Generic, TypeVar

T = TypeVar("T")

HELD_LIMIT: Final = 100_000  # things
HELD_BYTES_LIMIT: Final = 256 << 20


class Waiting(Generic[T]):
    """Things with a time and a size. Of equal times, what came first goes first."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, int, T]] = []  # (due_us, arrival, size, thing)
        self._arrivals = 0
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def is_full(self) -> bool:
        """Whether so much waits that no more should be taken in. More is never refused: that is the caller's choice."""
        return len(self._heap) >= HELD_LIMIT or self._bytes >= HELD_BYTES_LIMIT

    def add(self, due_us: int, size: int, thing: T) -> None:
        """Let `thing`, of `size` bytes, wait until `due_us`."""
        self._arrivals += 1
        self._bytes += size
        heapq.heappush(self._heap, (due_us, self._arrivals, size, thing))

    def due(self, now_us: int) -> list[T]:
        """What has waited long enough, in the order of time. Each is given out once."""
        heap, things = self._heap, []
        while heap and heap[0][0] <= now_us:
            _, _, size, thing = heapq.heappop(heap)
            self._bytes -= size
            things.append(thing)
        return things

    def next_due_us(self) -> int | None:
        """When the next one is due, if any waits."""
        return self._heap[0][0] if self._heap else None
