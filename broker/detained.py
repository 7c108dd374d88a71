"""What partitions keep back, until a plan comes under which none does. It knows pairs and plans, no envelopes."""

from __future__ import annotations

from typing import Generic, TypeVar

from broker.plan import Plan

T = TypeVar("T")
Place = tuple[int, int]
"""Where something stands in the outbox."""


class Detained(Generic[T]):
    """Things on their way from a sender to a receiver, each with its place in the outbox."""

    def __init__(self) -> None:
        self._by_pair: dict[tuple[str, str], list[tuple[Place, T]]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, sender: str, receiver: str, place: Place, thing: T) -> None:
        """Keep `thing` back."""
        self._by_pair.setdefault((sender, receiver), []).append((place, thing))
        self._count += 1

    def free(self, plan: Plan, place: Place) -> list[T]:
        """Let go, in the outbox's order, what stands before the plan at `place` and is not kept back by it."""
        freed: list[tuple[Place, T]] = []
        for pair in [pair for pair in self._by_pair if not plan.holds(*pair)]:
            things = self._by_pair.pop(pair)
            freed += [thing for thing in things if thing[0] < place]
            if later := [thing for thing in things if thing[0] > place]:
                self._by_pair[pair] = later
        self._count -= len(freed)
        return [thing for _, thing in sorted(freed, key=lambda thing: thing[0])]
