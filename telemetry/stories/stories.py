"""Makes stories of events: the one fold that the plain lines and the screens share.

Most events of a run are no news: each is dropped after one look at its kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from telemetry.events import Stamped
from telemetry.stories import processes, robots, troubles
from telemetry.stories.book import Act, Book
from telemetry.stories.completion import KINDS, Completion
from telemetry.stories.story import OpenStory, Story

ACTS: Final[dict[type[Any], Act]] = {**processes.ACTS, **robots.ACTS, **troubles.ACTS}


class Stories:
    """Those of a run so far."""

    def __init__(self) -> None:
        self._book = Book()
        self._completion = Completion()

    def handle(self, stamped: Stamped) -> None:
        """Take an event."""
        kind = type(stamped.event)
        act = ACTS.get(kind)
        if act is not None:
            act(self._book, stamped, stamped.event)
        if kind in KINDS:
            self._completion.handle(self._book, stamped)

    def until(self, now_us: int) -> Sequence[Story]:
        """The stories that are known at that moment, in order of their beginning."""
        return self._book.until(now_us)

    @property
    def whole(self) -> Sequence[Story]:
        """Whole stories, in the order in which they became known."""
        return self._book.whole

    @property
    def open(self) -> Iterable[OpenStory]:
        """Those whose end is still to come."""
        return self._book.open.values()

    def settle(self, now_us: int) -> None:
        """Tell what has been gathered for long enough by that moment."""
        self._book.settle(now_us)

    def close(self) -> None:
        """Nothing more comes: tell what is open."""
        self._book.close()

    def copy(self) -> Stories:
        other = Stories()
        other._book, other._completion = self._book.copy(), self._completion.copy()
        return other
