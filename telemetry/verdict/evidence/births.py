"""When lives began: by robot (Births), and by place in one outbox (Fence). Judges nothing.

Every death and every envelope needs an answer, so each answer is a bisection.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple

from telemetry.verdict.evidence.schema import BornRow
from telemetry.verdict.evidence.traffic import Key, key_of


class LifeBirth(NamedTuple):
    """A life's birth in its outbox (server's clock)."""

    at_ms: int
    life: int


class Births:
    """The births of one robot, the earliest life first. Of two births of one life the earlier one counts."""

    def __init__(self, births: Iterable[LifeBirth] = ()) -> None:
        first: dict[int, int] = {}
        for at_ms, life in births:
            first[life] = min(at_ms, first.get(life, at_ms))
        self.all = [LifeBirth(first[life], life) for life in sorted(first)]
        self._lives = [birth.life for birth in self.all]
        # When the first of a life and of all later ones began. Unlike births themselves, these rise in every record.
        self._onwards_ms = list(accumulate((birth.at_ms for birth in reversed(self.all)), min))[::-1]

    def at_ms(self, life: int) -> int:
        """When `life` began; 0 when that is not known."""
        place = bisect_left(self._lives, life)
        return self.all[place].at_ms if place < len(self.all) and self._lives[place] == life else 0

    def after(self, life: int, since_ms: int = 0) -> LifeBirth | None:
        """The first life that is later than `life`, and began at `since_ms` or afterwards."""
        places = range(bisect_right(self._lives, life), len(self.all))
        return next((self.all[place] for place in places if self.all[place].at_ms >= since_ms), None)

    def any_after_ms(self, life: int) -> int | None:
        """When any life later than `life` first began."""
        place = bisect_right(self._lives, life)
        return self._onwards_ms[place] if place < len(self.all) else None

    def latest_by(self, at_ms: int) -> LifeBirth | None:
        """The latest life that had begun at `at_ms`."""
        place = bisect_right(self._onwards_ms, at_ms)
        return self.all[place - 1] if place else None


def births_of(controls: Iterable[object]) -> dict[str, Births]:
    """All births, by robot."""
    found: dict[str, list[LifeBirth]] = defaultdict(list)
    for control in controls:
        if isinstance(control, BornRow):
            found[control.robot].append(LifeBirth(key_of(control.shard, control.id)[1], control.incarnation))
    return {robot: Births(births) for robot, births in found.items()}


class Fence:
    """The births of one robot in one outbox: behind each of them, older lives are stale."""

    def __init__(self, births: Iterable[tuple[Key, int]]) -> None:
        self._births = list(births)
        ordered = sorted(self._births)
        self._keys = [key for key, _ in ordered]
        self._latest = list(accumulate((life for _, life in ordered), max))

    def is_stale(self, life: int, key: Key) -> bool:
        """Whether a later life than `life` was born before the entry `key`."""
        place = bisect_left(self._keys, key)
        return place > 0 and self._latest[place - 1] > life

    def successor(self, life: int, key: Key) -> int:
        """The first recorded of the later lives that make `life` stale there. There must be one."""
        return next(later for birth, later in self._births if birth < key and later > life)


def fences_of(controls: Iterable[object]) -> dict[tuple[int, str], Fence]:
    """The births in each outbox, by shard and robot."""
    found: dict[tuple[int, str], list[tuple[Key, int]]] = defaultdict(list)
    for control in controls:
        if isinstance(control, BornRow):
            born = key_of(control.shard, control.id), control.incarnation
            found[control.shard, control.robot].append(born)
    return {place: Fence(births) for place, births in found.items()}
