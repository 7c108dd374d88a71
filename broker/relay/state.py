"""What a relay remembers between entries: plan changes, held messages, throttles, and copies that wait for their time.

Each is a small container, and knows neither the relay nor the outbox. All else that decides a fate is pure, and stands
in broker/faults/fate.py.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, Generic, TypeVar

from broker.control_entries import PlanChange, Planned
from broker.faults.fate import Plan
from broker.faults.shaping_faults import Deliveries

T = TypeVar("T")

Place = tuple[int, int]
"""Where something stands in the outbox."""

LONGEST_WAIT_US: Final = 5_000_000
PAIRS_LIMIT: Final = 65_536  # pairs remembered; beyond it, those that are free soonest are forgotten
READY_LIMIT: Final = 64  # plans
HELD_LIMIT: Final = 100_000  # things
HELD_BYTES_LIMIT: Final = 256 << 20
NO_PLAN: Final = PlanChange(())
"""What is in force before the first plan: no fault."""


class PlanHistory:
    """The plan changes of one outbox, each in force from its place on.

    All changes are kept, but only so many plans ready to decide fates: a plan in use remembers much to save work, and
    a long run has many changes, most of which bring back an earlier plan.
    """

    def __init__(self) -> None:
        self._places: list[Place] = [(0, 0)]
        self._changes: list[PlanChange] = [NO_PLAN]
        self._ready = lru_cache(maxsize=READY_LIMIT)(_plan_of)
        self._ruling = 0  # the change of the last call: nearly always the same
        self._plan = self._ready(())

    def add(self, place: Place, change: PlanChange) -> Plan:
        """Add a change at a place that has none; its plan. Raises ValueError when a text in it is no fault."""
        plan = self._ready(change.faults)
        index = bisect_left(self._places, place)
        self._places.insert(index, place)
        self._changes.insert(index, change)
        self._ruling = -1
        return plan

    def before(self, place: Place) -> PlanChange:
        """The last change before `place`."""
        return self._changes[bisect_left(self._places, place) - 1]

    def ruling(self, place: Place) -> Plan:
        """The plan in force for what stands at `place`."""
        index = bisect_left(self._places, place) - 1
        if index != self._ruling:
            self._ruling, self._plan = index, self._ready(self._changes[index].faults)
        return self._plan

    def after(self, place: Place) -> Iterator[tuple[Place, Plan]]:
        """The plans that come into force after `place`, and where."""
        for index in range(bisect_left(self._places, place), len(self._places)):
            yield self._places[index], self._ready(self._changes[index].faults)


def _plan_of(faults: tuple[Planned, ...]) -> Plan:
    return Plan(PlanChange(faults))


class HeldMessages(Generic[T]):
    """What partitions hold back, by sender and receiver, each thing with its place in the outbox."""

    def __init__(self) -> None:
        self._by_pair: dict[tuple[str, str], list[tuple[Place, T]]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, sender: str, receiver: str, place: Place, thing: T) -> None:
        """Hold `thing` back."""
        self._by_pair.setdefault((sender, receiver), []).append((place, thing))
        self._count += 1

    def free(self, plan: Plan, place: Place) -> list[T]:
        """Take out, in the outbox's order, what stands before the plan at `place` and is not held back by it."""
        freed: list[tuple[Place, T]] = []
        for pair in [pair for pair in self._by_pair if not plan.holds(*pair)]:
            things = self._by_pair.pop(pair)
            freed += [thing for thing in things if thing[0] < place]
            if later := [thing for thing in things if thing[0] > place]:
                self._by_pair[pair] = later
        self._count -= len(freed)
        return [thing for _, thing in sorted(freed, key=lambda thing: thing[0])]


class Throttles:
    """When each throttled pair (sender, receiver) is free again, by throttle: it lasts as long as one relay's life.

    An envelope waits at most LONGEST_WAIT_US, and then passes faster than the throttle allows. Without that bound a
    slow throttle would fill its relay, which would then read nothing more, not even `heal`, as long as the last one
    waits. So a full relay reads on after a few seconds, however much there is: waits count from when an entry was sent.
    """

    def __init__(self) -> None:
        self._free_us: dict[tuple[int, str, str], int] = {}

    def __len__(self) -> int:
        return len(self._free_us)

    def slow(
        self, throttles: tuple[tuple[int, int], ...], sender: str, receiver: str, sent_us: int, deliveries: Deliveries
    ) -> tuple[Deliveries, tuple[int, ...]]:
        """The deliveries of an envelope that passes `throttles` (instance, microseconds per envelope), each delayed
        by the wait of its first one, at most LONGEST_WAIT_US; and the instances that let it wait. Envelopes come in the
        order of `sent_us` (server's clock)."""
        arrival_us = departure_us = sent_us + deliveries[0]
        slowing: tuple[int, ...] = ()
        for instance, interval_us in throttles:
            gate = (instance, sender, receiver)
            free_us = self._free_us.pop(gate, 0)
            earliest_us, departure_us = departure_us, min(max(departure_us, free_us), arrival_us + LONGEST_WAIT_US)
            if departure_us > earliest_us:
                slowing += (instance,)
            self._free_us[gate] = departure_us + interval_us
        if len(self._free_us) > PAIRS_LIMIT:
            self._forget(sent_us)
        wait_us = departure_us - arrival_us
        return (tuple(delay_us + wait_us for delay_us in deliveries) if wait_us else deliveries), slowing

    def _forget(self, now_us: int) -> None:
        """Forget those that are free by now: they delay nothing that is sent later. Then half of the others."""
        busy = [(free_us, gate) for gate, free_us in self._free_us.items() if free_us > now_us]
        busy.sort()
        self._free_us = {gate: free_us for free_us, gate in busy[-PAIRS_LIMIT // 2 :]}


class DelayQueue(Generic[T]):
    """Things that wait for their time, the earliest first, and of equal times in their order; it knows its size."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, int, T]] = []  # (due_us, arrival, size, thing)
        self._arrivals = 0
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def is_full(self) -> bool:
        """Whether so much waits that the caller should add no more. More is never refused."""
        return len(self._heap) >= HELD_LIMIT or self._bytes >= HELD_BYTES_LIMIT

    def add(self, due_us: int, size: int, thing: T) -> None:
        """Let `thing`, of `size` bytes, wait until `due_us`."""
        self._arrivals += 1
        self._bytes += size
        heapq.heappush(self._heap, (due_us, self._arrivals, size, thing))

    def due(self, now_us: int) -> list[T]:
        """The things whose time has come, in the order of time. Each is given out once."""
        heap, things = self._heap, []
        while heap and heap[0][0] <= now_us:
            _, _, size, thing = heapq.heappop(heap)
            self._bytes -= size
            things.append(thing)
        return things

    def next_due_us(self) -> int | None:
        """When the next one is due, if any waits."""
        return self._heap[0][0] if self._heap else None
