"""Whom a robot knows of, whom it believes alive, and what it has seen of their knowledge. Pure, but for the chance.

A peer is suspected after an exchange that got no answer, and trusted again as soon as it is heard. Suspects are still
tried now and then: otherwise a healed partition would stay unnoticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log2
from random import Random
from typing import Final

from broker.envelope import robot_name
from robots.knowledge import indices_of

SAMPLE: Final = 3  # peers named in a summary


def contacts(number: int, robots: int, chance: Random) -> list[str]:
    """Whom the `number`-th of `robots` knows at the start: its ring successor and ⌈log2 N⌉ + 1 at random."""
    others = [other for other in range(robots) if other not in (number, (number + 1) % robots)]
    some = chance.sample(others, min(len(others), ceil(log2(robots)) + 1))
    return [robot_name(other, robots) for other in [(number + 1) % robots, *some]]


class Peers:
    """One robot's table of others. It outlives its reader's crashes, as a channel does."""

    def __init__(self, me: str, known: Sequence[str], dealt: int, chance: Random) -> None:
        self._me = me
        self._chance = chance
        self._dealt = dealt  # bitmap of the parts that this robot was dealt
        self._seen: dict[str, int] = {}  # peer → bitmap of those of them that it was seen to hold
        self._names: list[str] = []
        self._copies = dict.fromkeys(indices_of(dealt), 0)  # index → peers that were seen to hold it
        self._suspects: dict[str, None] = {}
        self._hand: list[str] = []  # the shuffled list that is dealt from, without repeats
        self.learn(known)

    @property
    def alive(self) -> int:
        """How many peers are believed alive."""
        return len(self._seen) - len(self._suspects)

    def learn(self, names: Sequence[str]) -> None:
        """Some robots were named by another."""
        for name in names:
            if name != self._me and name not in self._seen:
                self._seen[name] = 0
                self._names.append(name)

    def heard(self, name: str, holds: int) -> None:
        """`name` spoke, and showed to hold the indices in the bitmap `holds`."""
        self.learn([name])
        news = holds & self._dealt & ~self._seen[name]
        self._seen[name] |= news
        for index in indices_of(news):
            self._copies[index] += 1
        self._suspects.pop(name, None)

    def silent(self, name: str) -> None:
        """`name` did not answer."""
        if name in self._seen:
            self._suspects[name] = None

    def draw(self, count: int, busy: Sequence[str]) -> list[str]:
        """The next `count` peers to talk to, none of them `busy`; fewer if there are not as many."""
        drawn = self._deal(count, busy)
        if len(drawn) < count:  # the rest comes from a new hand
            self._hand = self._shuffled()
            drawn += self._deal(count - len(drawn), [*busy, *drawn])
        return drawn

    def _deal(self, count: int, busy: Sequence[str]) -> list[str]:
        """Take up to `count` names from the hand; those that are busy stay in it."""
        free = [name for name in self._hand if name not in busy][:count]
        self._hand = [name for name in self._hand if name not in free]
        return free

    def sample(self) -> tuple[str, ...]:
        """A few robots believed alive, to be named to others."""
        some = self._chance.sample(self._names, min(SAMPLE, len(self._names)))
        return tuple(name for name in some if name not in self._suspects)

    def hold_dealt(self, at_least: int) -> bool:
        """Whether each part that this robot was dealt was seen at `at_least` peers."""
        return all(copies >= at_least for copies in self._copies.values())

    def _shuffled(self) -> list[str]:
        hand = [name for name in self._seen if name not in self._suspects]
        if self._suspects:
            hand.append(self._chance.choice(list(self._suspects)))
        self._chance.shuffle(hand)
        return hand
