"""The times of one fault: when it begins, ends and comes again. Arithmetic on whole microseconds since `go`."""

from __future__ import annotations

from typing import Final

from broker.grammar import When

FOREVER_US: Final = 1 << 62
TRIAL_US: Final = 1_000_000  # so long is a dated fault without an end in force before it counts as tried


class Span:
    """When a fault is in force: as its `when` says, but not from `healed_us` on, and beginning again only before
    `for_us` (its first time is never left out)."""

    def __init__(self, when: When, healed_us: int, for_us: int) -> None:
        self._when = when
        self._healed_us = healed_us
        self._last_turn = 0
        if when.every_us is not None:
            self._last_turn = max(0, (for_us - 1 - (when.start_us or 0)) // when.every_us)

    @property
    def settled_us(self) -> int:
        """When it has happened and is over for the last time, or, if it has no end, has been tried; 0 when it is not
        dated."""
        begin_us, end_us = self._turn_us(self._last_turn)
        return max(0, min(self._healed_us, begin_us + TRIAL_US if self._when.duration_us is None else end_us))

    def is_on(self, now_us: int) -> bool:
        """Whether it is in force."""
        begin_us, end_us = self._turn_us(self._turn_at(now_us))
        return begin_us <= now_us < min(end_us, self._healed_us)

    def edges_us(self, now_us: int) -> list[int]:
        """The next times after `now_us` at which it may begin or end; empty when there are none."""
        turn = self._turn_at(now_us)
        edges = {self._healed_us, *self._turn_us(turn), *self._turn_us(min(turn + 1, self._last_turn))}
        return [edge_us for edge_us in edges if now_us < edge_us <= self._healed_us and edge_us < FOREVER_US]

    def is_over(self, now_us: int) -> bool:
        """Whether it is not in force and never will be again."""
        turn = self._turn_at(now_us)
        begins = self._turn_us(turn)[0], self._turn_us(min(turn + 1, self._last_turn))[0]
        return not self.is_on(now_us) and not any(now_us < begin_us < self._healed_us for begin_us in begins)

    def _turn_at(self, now_us: int) -> int:
        """The last of its turns, from 0, that has begun by `now_us`; 0 when none has."""
        if self._when.every_us is None:
            return 0
        return min(self._last_turn, max(0, now_us - (self._when.start_us or 0)) // self._when.every_us)

    def _turn_us(self, turn: int) -> tuple[int, int]:
        """Beginning and end of a turn."""
        when = self._when
        if when.start_us is None:
            return -FOREVER_US, FOREVER_US
        begin_us = when.start_us + turn * (when.every_us or 0)
        return begin_us, FOREVER_US if when.duration_us is None else begin_us + when.duration_us
