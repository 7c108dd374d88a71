"""Whether burst loss has its bad or its good state at a number: pure, whatever was asked for before.

The memo in here only saves work. It may be empty, and it forgets.
"""

from __future__ import annotations

from typing import Final

from broker.dice import Dice, Throw
from broker.faults import BurstLoss

BLOCK: Final = 1024  # numbers; at the first of each block the chain begins anew
_MEMORY: Final = 65_536  # pairs of robots (and lives) whose last state is remembered


class Bursts:
    """The states of one instance of burst loss.

    Nothing is folded from the beginning: most numbers tell the state whatever the one before it was, so a short walk
    backwards to such a number is enough. The numbers on the way either keep the state or turn it over.
    """

    def __init__(self, fault: BurstLoss, instance: int) -> None:
        self._instance = instance
        self._share = fault.share
        self._low, self._high = sorted((fault.onset, fault.recovery))
        self._is_bad_between = fault.recovery < fault.onset
        self._dice: Dice | None = None
        self._last: dict[tuple[str, int, str], tuple[int, bool]] = {}

    def is_bad(self, dice: Dice, sender: str, incarnation: int, receiver: str, sequence: int, throw: Throw) -> bool:
        """Whether the envelope is lost; `throw` is its own of `dice`."""
        if dice is not self._dice:
            self._dice = dice
            self._last.clear()
        pair = (sender, incarnation, receiver)
        known, is_bad_there = self._last.get(pair, (0, False))
        first = sequence - (sequence - 1) % BLOCK
        number, is_turned = sequence, False
        while True:
            u = throw.number(self._instance, 0, 0)
            if number == first:
                state = u < self._share
                break
            if self._low <= u < self._high:
                state = self._is_bad_between
                break
            is_turned ^= u < self._low
            number -= 1
            if number == known:
                state = is_bad_there
                break
            throw = dice.of(sender, incarnation, receiver, number)
        state ^= is_turned
        self._remember(pair, sequence, state)
        return state

    def _remember(self, pair: tuple[str, int, str], sequence: int, state: bool) -> None:
        if len(self._last) >= _MEMORY and pair not in self._last:
            self._last.clear()
        self._last[pair] = (sequence, state)
