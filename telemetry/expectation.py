"""What theory expects of this run, with the faults that were in force at each time."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from functools import lru_cache
from typing import Final, NamedTuple

from telemetry.explanations.links import Links
from telemetry.theory import (
    RELIABLE_UP_TO,
    STEPS,
    Conditions,
    Duration,
    Kind,
    Lab,
    Matrix,
    predicted,
    until_complete,
)
from telemetry.verdict.recomputed.fault_rules import number_of

MOST_PEERS: Final = 24
"""Of each robot so many links are looked at, in equal distances: with many robots, a sample of all."""

MOST_GROUPS: Final = 4
"""Of robots with different links; when there are more, theory takes all links to be alike."""

Plans = tuple[tuple[int, tuple[str, ...]], ...]
"""From when on, by the wall clock, which faults were in force."""

_LEAST_TICKS: Final = 64  # looked ahead


class RunTerms(NamedTuple):
    """What does not change in a run. `holders`: of each part, the robots that were dealt it."""

    robots: int
    holders: tuple[tuple[str, ...], ...]
    go_us: int
    tick_us: int


class Expected(NamedTuple):
    """`shares`: the mean share of the parts that a robot holds, after each `step_us` from `go` on. `duration`: when all
    are complete, in ticks; None: not foreseen. `loss`: the share of messages lost now, over all links."""

    shares: tuple[float, ...]
    step_us: float
    duration: Duration | None
    loss: float

    @property
    def is_reliable(self) -> bool:
        """Whether theory is known to be near under this loss."""
        return self.loss <= RELIABLE_UP_TO


def expected(run: RunTerms, plans: Plans, ticks: float) -> Expected:
    """What theory expects, `ticks` after `go`, if the faults in force now stay."""
    ahead = _LEAST_TICKS
    while ahead < 2 * ticks:
        ahead *= 2
    shares, duration = _foreseen(run, plans, ahead)
    loss = mean_loss(plans[-1][1] if plans else (), run.robots)
    return Expected(shares, run.tick_us / STEPS, duration, loss)


@lru_cache(maxsize=64)
def mean_loss(faults: tuple[str, ...], robots: int) -> float:
    """The share of messages that is lost or damaged under these faults, over the links between so many robots."""
    links = Links(faults)
    names = [f"r{number}" for number in range(robots)]
    stride = -(-(robots - 1) // MOST_PEERS) or 1
    distances = range(1, robots, stride)
    total = sum(links.lost(one, names[(place + far) % robots]) for place, one in enumerate(names) for far in distances)
    return total / (robots * len(distances)) if distances else 0.0


@lru_cache(maxsize=4)
def _foreseen(run: RunTerms, plans: Plans, ticks: int) -> tuple[tuple[float, ...], Duration | None]:
    groups = _groups(run, plans)
    lab = Lab(tuple(map(len, groups)), _kinds(run, groups))
    conditions = [_conditions(run, faults, groups) for _, faults in plans] or [_conditions(run, (), groups)]
    begins = [(from_us - run.go_us) / run.tick_us for from_us, _ in plans[1:]]
    shares = predicted(lab, lambda at: conditions[bisect_right(begins, at)], ticks)
    return tuple(shares), until_complete(lab, shares)


def _groups(run: RunTerms, plans: Plans) -> list[list[int]]:
    """The robots, by number, that have equal links under each of these plans; if they are too many groups, all in
    one."""
    all_links = [Links(faults) for _, faults in plans]
    groups: dict[object, list[int]] = {}
    for number in range(run.robots):
        places = tuple(links.place(f"r{number}") for links in all_links)
        groups.setdefault(places, []).append(number)
    return list(groups.values()) if len(groups) <= MOST_GROUPS else [list(range(run.robots))]


def _kinds(run: RunTerms, groups: list[list[int]]) -> tuple[Kind, ...]:
    """The parts by how many robots of each group hold them at the start."""
    group_of = {number: place for place, group in enumerate(groups) for number in group}
    kinds: Counter[tuple[int, ...]] = Counter()
    for holders in run.holders or (("r0",),):
        held = Counter(group_of.get(number_of(holder) or 0, 0) for holder in holders)
        kinds[tuple(held[place] for place, _ in enumerate(groups))] += 1
    return tuple(Kind(held, parts) for held, parts in kinds.items())


def _conditions(run: RunTerms, faults: tuple[str, ...], groups: list[list[int]]) -> Conditions:
    links = Links(faults)
    if len(groups) == 1:
        loss: Matrix = ((mean_loss(faults, run.robots),),)
    else:
        names = [f"r{group[0]}" for group in groups]
        loss = [[links.lost(one, other) for other in names] for one in names]
    return Conditions(loss, links.delay_us / run.tick_us)
