"""The events of a scene that a person wants to see, found step by step: what was looked at is not looked at again.

A scene keeps tens of thousands of events, and a page is drawn several times a second: so only new events are looked at,
and of older ones a bounded number each time, from the newest on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from itertools import islice
from typing import Final, overload
from weakref import WeakKeyDictionary

from telemetry.events import Stamped
from telemetry.scene.scene import Scene

STEP: Final = 2_000
"""Older events that are looked at each time."""

_MOST_KINDS: Final = 4  # of lists of one scene that are kept

Wanted = Callable[[Stamped], bool]


class Listing:
    """The wanted events among those that were looked at; `unseen` older ones are still to be looked at, and `kept` is
    how many the scene keeps."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._found: deque[tuple[int, Stamped]] = deque()  # with its number among all events of the run
        self._observed: range | None = None  # the numbers of those that were looked at
        self.unseen = 0
        self.kept = 0

    @property
    def events(self) -> Sequence[Stamped]:
        """Those that were found, in order."""
        return _Found(self._found)

    def observe(self, scene: Scene, step: int = STEP) -> None:
        """Look at what is new, and at some that are older."""
        seen, kept = scene.seen, len(scene.events)
        self.kept = kept
        observed = self._observed if self._observed is not None else range(seen, seen)
        for number, stamped in _newest_first(scene, 0, min(seen - observed.stop, kept), reverse=True):
            if self._wanted(stamped):
                self._found.append((number, stamped))
        older = min(step, observed.start - (seen - kept))
        for number, stamped in _newest_first(scene, seen - observed.start, older):
            if self._wanted(stamped):
                self._found.appendleft((number, stamped))
        start = max(observed.start - max(0, older), seen - kept)
        self._observed, self.unseen = range(start, seen), start - (seen - kept)
        while self._found and self._found[0][0] < seen - kept:
            self._found.popleft()


class _Found(Sequence[Stamped]):
    """A view of what was found."""

    def __init__(self, found: deque[tuple[int, Stamped]]) -> None:
        self._found = found

    def __len__(self) -> int:
        return len(self._found)

    @overload
    def __getitem__(self, index: int) -> Stamped: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Stamped]: ...
    def __getitem__(self, index: int | slice) -> Stamped | Sequence[Stamped]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self._found))
            return [self._found[each][1] for each in range(start, stop, step)]
        return self._found[index][1]


def _newest_first(scene: Scene, skip: int, count: int, reverse: bool = False) -> Sequence[tuple[int, Stamped]]:
    """Events with their numbers: `count` of them, from the newest but `skip` on; `reverse`: the oldest first."""
    if count <= 0:
        return ()
    newest = scene.seen - 1 - skip
    some = enumerate(islice(reversed(scene.events), skip, skip + count))
    numbered = [(newest - place, stamped) for place, stamped in some]
    return numbered[::-1] if reverse else numbered


_LISTINGS: WeakKeyDictionary[Scene, dict[Hashable, Listing]] = WeakKeyDictionary()


def listing(scene: Scene, key: Hashable, wanted: Callable[[], Wanted], step: int = STEP) -> Listing:
    """The events of a scene that are wanted, as far as they were looked at. What `key` stands for is always wanted in
    the same way."""
    several = _LISTINGS.setdefault(scene, {})
    found = several.pop(key, None)
    if found is None:
        found = Listing(wanted())
    several[key] = found  # the last used is the last
    while len(several) > _MOST_KINDS:
        del several[next(iter(several))]
    found.observe(scene, step)
    return found
