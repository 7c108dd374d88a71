"""How many entries of a trimmed stream its consumer group never got. Arithmetic on the server's counters: no commands.

An entry's place is its number in the stream, from 1, trimmed ones included. Every entry up to the place that the group
has reached either came to its reader or is lost. The counters are cumulative, so a look now and then misses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from broker.relay import Id, parse_id

_LOOK_EVERY: Final = 256  # entries that came; far below what a full inbox holds, so no overflow is over before a look

Told = Mapping[str, Any]
"""What XINFO tells of a stream, or of a group."""


class Losses:
    """The account of one reader of a group. `lost` only grows."""

    def __init__(self) -> None:
        self.lost = 0
        self._place: int | None = None  # up to which all entries came or are lost
        self._newest: Id = (0, 0)  # that came
        self._unlooked = 0

    @property
    def has_begun(self) -> bool:
        """Whether it is known where this reader began."""
        return self._place is not None

    @property
    def is_look_due(self) -> bool:
        """Whether so much came since the last look that the next is worth its price."""
        return self._unlooked >= _LOOK_EVERY

    def begin_anew(self) -> None:
        """The stream is a new one, with places of its own."""
        self._place, self._newest = None, (0, 0)

    def came(self, entries: Sequence[str]) -> None:
        """Entries came, in order. One that came before, or to an earlier life, may come again: it is not counted."""
        if not entries or self._place is None or parse_id(entries[-1]) <= self._newest:
            return
        new = [entry for entry in map(parse_id, entries) if entry > self._newest]
        self._place += len(new)
        self._unlooked += len(new)
        self._newest = new[-1]

    def look(self, stream: Told, group: Told) -> None:
        """Compare with the server's counters, nothing being on its way; the first time, begin there."""
        self._unlooked = 0
        reached, trimmed = _reached(stream, group), stream["entries-added"] - stream["length"]
        if self._place is None:
            self._place, self._newest = reached, parse_id(group["last-delivered-id"].decode())
        # What an earlier life that is not quite dead takes for itself counts as well, but never more than was trimmed.
        gap = min(max(reached, trimmed) - self._place, trimmed)
        if gap > 0:
            self.lost += gap
            self._place += gap


def _reached(stream: Told, group: Told) -> int:
    """The place of the group's last delivered entry. Redis before 7.2.6 does not count in `entries-read` what a group
    skipped. There the place is certain only when the group has caught up: a loss may be noticed later, and a life that
    begins behind may count the losses of earlier ones again."""
    if group["last-delivered-id"] == stream["last-generated-id"]:
        return int(stream["entries-added"])
    return int(group["entries-read"] or 0)
