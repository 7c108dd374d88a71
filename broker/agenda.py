"""When the faults of processes are due: each of their turns once. Pure, and no clock; times count from the order `go`.

Unlike a fault of messages (broker/schedule.py), which is in force or not, a deed is done, once, at its time; only a
pause lasts, and its end is due as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from broker.deeds import ProcessFault
from broker.grammar import When
from broker.spans import FOREVER_US

_LONG_AGO_US: Final = -1  # before go: nothing is due


class Due(msgspec.Struct, frozen=True):
    """A deed whose time has come: which turn (from 0) of which instance. `is_end`: what it paused goes on now."""

    instance: int
    turn: int
    fault: ProcessFault
    is_end: bool = False


class Turns:
    """The times of one deed: as its `when` says, but none at `healed_us` or later, and none but the first at `for_us`
    or later."""

    def __init__(self, when: When, healed_us: int, for_us: int) -> None:
        self._start_us = when.start_us or 0
        self._every_us = when.every_us or FOREVER_US
        self._duration_us = when.duration_us
        self.healed_us = healed_us
        beyond_us = min(for_us, healed_us) if when.every_us else 0
        self._last = max(0, (beyond_us - 1 - self._start_us) // self._every_us)

    @property
    def last_us(self) -> int:
        """When the last of them has happened. A pause need not be over then."""
        return max(0, min(self.healed_us, self._begin_us(self._last)))

    @property
    def settled_us(self) -> int:
        """When the last of them has happened and, unless somebody ends it before, is over."""
        end_us = self._begin_us(self._last) + (self._duration_us or 0)
        return max(0, min(self.healed_us, end_us))

    def begun(self, after_us: int, until_us: int) -> Iterator[tuple[int, int, int | None]]:
        """The turns that begin after `after_us`, by `until_us` at the latest: (turn, beginning, end)."""
        first = max(0, (after_us - self._start_us) // self._every_us + 1)
        last = min(self._last, (until_us - self._start_us) // self._every_us)
        for turn in range(first, last + 1):
            begin_us = self._begin_us(turn)
            if begin_us < self.healed_us:
                yield turn, begin_us, self._end_us(begin_us)

    def edge_us(self, now_us: int) -> int | None:
        """The next time after `now_us` at which one begins; None when none does."""
        turn = max(0, (now_us - self._start_us) // self._every_us + 1)
        begin_us = self._begin_us(turn)
        return begin_us if turn <= self._last and begin_us < self.healed_us else None

    def _begin_us(self, turn: int) -> int:
        return self._start_us + turn * self._every_us

    def _end_us(self, begin_us: int) -> int | None:
        return None if self._duration_us is None else min(begin_us + self._duration_us, self.healed_us)


class Agenda:
    """Hands out what is due. What was handed out stays so when the plan is changed."""

    def __init__(self) -> None:
        self._deeds: Mapping[int, tuple[ProcessFault, Turns]] = {}
        self._given_us = _LONG_AGO_US
        self._open: list[tuple[int, Due]] = []  # ends of pauses that have begun, with their time

    @property
    def next_free_us(self) -> int:
        """The earliest time for which a deed can still be planned, and will be handed out."""
        return self._given_us + 1

    def plan(self, deeds: Mapping[int, tuple[ProcessFault, Turns]]) -> None:
        """From now on these, by instance. A pause that has begun and is not among them ends with the next look."""
        self._deeds = deeds
        healed_us = {instance: turns.healed_us for instance, (_, turns) in deeds.items()}
        self._open = [(min(end_us, healed_us.get(due.instance, _LONG_AGO_US)), due) for end_us, due in self._open]

    def due(self, now_us: int) -> list[Due]:
        """What has come due since the last look, in the order of time; of equal times ends first, then by instance."""
        found = [*self._open]
        for instance, (fault, turns) in self._deeds.items():
            found += _dues(instance, fault, turns.begun(self._given_us, now_us))
        self._given_us = max(self._given_us, now_us)
        self._open = [(at_us, due) for at_us, due in found if at_us > now_us]
        ready = [(at_us, due) for at_us, due in found if at_us <= now_us]
        return [due for _, due in sorted(ready, key=_order)]

    def is_idle(self, now_us: int) -> bool:
        """Whether nothing that is due by `now_us` is still to be handed out."""
        next_us = self.next_us(self._given_us)
        return next_us is None or next_us > now_us

    def next_us(self, now_us: int) -> int | None:
        """The first time after `now_us` at which anything comes due; None when nothing ever will."""
        edges = [turns.edge_us(now_us) for _, turns in self._deeds.values()]
        return min([*(edge for edge in edges if edge is not None), *(at_us for at_us, _ in self._open)], default=None)


def _dues(
    instance: int, fault: ProcessFault, turns: Iterable[tuple[int, int, int | None]]
) -> Iterator[tuple[int, Due]]:
    for turn, begin_us, end_us in turns:
        yield begin_us, Due(instance, turn, fault)
        if end_us is not None:
            yield end_us, Due(instance, turn, fault, is_end=True)


def _order(timed: tuple[int, Due]) -> tuple[int, bool, int, int]:
    at_us, due = timed
    return at_us, not due.is_end, due.instance, due.turn
