"""A robot's table of peers: which it knows, which it believes alive, and what it has seen of their knowledge.

A peer is suspected after an exchange that got no answer, and trusted again as soon as a message of it comes. Suspects
are still drawn now and then: otherwise a healed partition would stay unnoticed. Pure, but for the injected chance.
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
    """The peers that the `number`-th of `robots` knows at the start: its ring successor and ⌈log2 N⌉ + 1 at random."""
    others = [other for other in range(robots) if other not in (number, (number + 1) % robots)]
    some = chance.sample(others, min(len(others), ceil(log2(robots)) + 1))
    return [robot_name(other, robots) for other in [(number + 1) % robots, *some]]


class Peers:
    """One robot's table of peers. It outlives the crashes of the worker that uses it, as a channel does."""

    def __init__(self, me: str, known: Sequence[str], dealt: int, chance: Random) -> None:
        self._me = me
        self._chance = chance
        self._dealt = dealt  # bitmap of the parts that this robot was dealt
        self._seen: dict[str, int] = {}  # peer → bitmap of the dealt parts that it was seen to hold
        self._names: list[str] = []
        self._copies = dict.fromkeys(indices_of(dealt), 0)  # index → peers that were seen to hold it
        self._suspects: dict[str, None] = {}
        self._deck: list[str] = []  # shuffled; each peer is drawn from it once
        self.learn(known)

    @property
    def alive(self) -> int:
        """How many peers are believed alive."""
        return len(self._seen) - len(self._suspects)

    def learn(self, names: Sequence[str]) -> None:
        """Add robots that a peer has named."""
        for name in names:
            if name != self._me and name not in self._seen:
                self._seen[name] = 0
                self._names.append(name)

    def mark_alive(self, name: str, holds: int) -> None:
        """A message of `name` came; it shows that the peer holds the indices in the bitmap `holds`."""
        self.learn([name])
        news = holds & self._dealt & ~self._seen[name]
        self._seen[name] |= news
        for index in indices_of(news):
            self._copies[index] += 1
        self._suspects.pop(name, None)

    def suspect(self, name: str) -> None:
        """`name` did not answer in time."""
        if name in self._seen:
            self._suspects[name] = None

    def draw(self, count: int, busy: Sequence[str]) -> list[str]:
        """The next `count` peers for new exchanges, none of them `busy`; fewer if there are not as many."""
        drawn = self._take(count, busy)
        if len(drawn) < count:  # the rest comes from a new deck
            self._deck = self._shuffled()
            drawn += self._take(count - len(drawn), [*busy, *drawn])
        return drawn

    def _take(self, count: int, busy: Sequence[str]) -> list[str]:
        """Take up to `count` names from the deck; busy ones stay in it."""
        free = [name for name in self._deck if name not in busy][:count]
        self._deck = [name for name in self._deck if name not in free]
        return free

    def sample(self) -> tuple[str, ...]:
        """A few robots believed alive, to be named in a summary."""
        some = self._chance.sample(self._names, min(SAMPLE, len(self._names)))
        return tuple(name for name in some if name not in self._suspects)

    def hold_dealt(self, at_least: int) -> bool:
        """Whether each part that this robot was dealt was seen at `at_least` peers or more."""
        return all(copies >= at_least for copies in self._copies.values())

    def _shuffled(self) -> list[str]:
        deck = [name for name in self._seen if name not in self._suspects]
        if self._suspects:
            deck.append(self._chance.choice(list(self._suspects)))
        self._chance.shuffle(deck)
        return deck
