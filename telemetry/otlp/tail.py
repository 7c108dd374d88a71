"""Which exchanges leave the lab when not all do: chosen at the end of the run, when it is known how each went.

All that failed, the slowest, all that taught something, and an even share of the rest; what has to be thinned out is
thinned out evenly in time. Pure, with memory for a few times the bound, however long the run was.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Final

import msgspec

from telemetry.tracing.spans import Trace

MOST: Final = 1000
SLOWEST: Final = MOST // 10
_TAUGHT: Final = "merge"  # the span of a message that brought something new

Numbered = tuple[int, Trace]  # a trace, and its place among all


class Choice(msgspec.Struct, frozen=True):
    """The traces that were chosen, in their order, and of how many."""

    traces: list[Trace]
    total: int

    @property
    def is_all(self) -> bool:
        """Whether none was left out."""
        return len(self.traces) == self.total


def all_of(traces: Iterable[Trace]) -> Choice:
    """Every trace."""
    chosen = list(traces)
    return Choice(chosen, len(chosen))


def choose(traces: Iterable[Trace], most: int = MOST) -> Choice:
    """At most `most` of the traces."""
    failed, taught, rest = EvenSample(most), EvenSample(most), EvenSample(most)
    slowest: list[tuple[int, int, Trace]] = []
    total = 0
    for number, trace in enumerate(traces):
        total += 1
        root = trace.spans[0]
        if root.error:
            failed.add(number, trace)
            continue
        (taught if any(span.name == _TAUGHT for span in trace.spans) else rest).add(number, trace)
        heapq.heappush(slowest, (root.end_us - root.start_us, -number, trace))  # of equal ones the first stays
        if len(slowest) > min(SLOWEST, most):
            heapq.heappop(slowest)
    chosen = dict(failed.at_most(most))
    chosen |= [(-number, trace) for _, number, trace in heapq.nlargest(most - len(chosen), slowest)]
    for sample in (taught, rest):
        chosen |= sample.at_most(most - len(chosen), chosen)
    return Choice([trace for _, trace in sorted(chosen.items())], total)


class EvenSample:
    """Keeps at least `most` of many traces, evenly over their order: when it holds twice as many, every other one
    goes."""

    def __init__(self, most: int) -> None:
        self._most = max(1, most)
        self._kept: list[Numbered] = []
        self._stride = 1
        self._came = 0

    def add(self, number: int, trace: Trace) -> None:
        """Keep the trace, if it is its turn."""
        if self._came % self._stride == 0:
            self._kept.append((number, trace))
            if len(self._kept) >= 2 * self._most:
                self._kept = self._kept[::2]
                self._stride *= 2
        self._came += 1

    def at_most(self, most: int, but: Iterable[int] = ()) -> list[Numbered]:
        """At most so many of the kept ones, evenly; none whose number is in `but`."""
        known = set(but)
        kept = [pair for pair in self._kept if pair[0] not in known]
        if len(kept) <= most:
            return kept
        return [kept[place * len(kept) // most] for place in range(most)]
