"""Pairs of what was wanted and what came, where each may come a little early or late. Judges nothing.

As many are paired as can be, and of those that are wanted, the first in `order` before all others: one that needs no
partner must not take the partner of one that does. Each gets the nearest partner that this leaves.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import NamedTuple


def distance(at_us: int, came_us: Sequence[int]) -> int:
    """How far from `at_us` the nearest of `came_us` is, which are in order; 0 when there is none."""
    place = bisect_left(came_us, at_us)
    return min((abs(came - at_us) for came in came_us[max(0, place - 1) : place + 1]), default=0)


class Wanted(NamedTuple):
    """Something is wanted at `at_us`, and may come from `first_us` to `last_us`."""

    at_us: int
    first_us: int
    last_us: int


def matched(wanted: Sequence[Wanted], came_us: Sequence[int], order: Iterable[int]) -> dict[int, int]:
    """The partner of each that is wanted and has one, by their places. `came_us` is in order, and `order` holds the
    places of all that is wanted."""

    def near(place: int) -> list[int]:
        at_us, first_us, last_us = wanted[place]
        places = range(bisect_left(came_us, first_us), bisect_right(came_us, last_us))
        return sorted(places, key=lambda came: abs(came_us[came] - at_us))

    pairs: dict[int, int] = {}
    takers: dict[int, int] = {}  # the pairs, the other way round
    hopeless: set[int] = set()  # all that can be reached from these is paired: no search finds anything there
    for newcomer in order:
        path: dict[int, int] = {}  # by what came: which of the wanted would take it
        free = _search(newcomer, near, takers, hopeless, path)
        if free is None:
            hopeless |= path.keys()
        while free is not None:
            taker = path[free]
            left = pairs.get(taker)
            pairs[taker], takers[free] = free, taker
            free = left
    return pairs


def _search(
    newcomer: int,
    near: Callable[[int], list[int]],
    takers: Mapping[int, int],
    hopeless: Set[int],
    path: dict[int, int],
) -> int | None:
    """Something that is free, if `newcomer` gets it, or gets that of another one which can take something else. `path`
    gets all that was looked at."""
    queue = [newcomer]
    for taker in queue:
        for came in near(taker):
            if came in path or came in hopeless:
                continue
            path[came] = taker
            if came not in takers:
                return came
            queue.append(takers[came])
    return None
