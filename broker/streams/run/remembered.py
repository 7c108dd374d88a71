"""Whether a server came back older than a process knows it: an entry is gone that this process has stored or read, and
older ones stand. A failover to a replica that was behind does that. Reads only.
"""

from __future__ import annotations

import time
from typing import Final

import redis
import redis.asyncio

from broker.relay.core import parse_id
from broker.streams.reading import Entry, decoded

PAUSE_S: Final = 0.5
"""Between two entries that were stored: in a longer pause another server may have taken the place of this one."""


class LastStored:
    """The last entry that a process has stored in one stream, and when to look whether it still stands: before the next
    one, after an error or a pause."""

    def __init__(self) -> None:
        self._entry: str | None = None
        self._stored_s = 0.0
        self._had_error = False
        self._is_forgotten = False

    @property
    def in_doubt(self) -> str | None:
        """The entry to look for before the next one is stored; None when there is no reason to."""
        is_late = time.monotonic() - self._stored_s > PAUSE_S
        return self._entry if self._had_error or is_late else None

    def found(self, is_forgotten: bool) -> None:
        """The entry in doubt was looked for."""
        self._is_forgotten |= is_forgotten

    def stored(self, entry: bytes | None) -> None:
        """An entry was stored; None: the stream is gone."""
        self._entry = None if entry is None else entry.decode()
        self._stored_s, self._had_error = time.monotonic(), False

    def failed(self) -> None:
        """An entry was not stored, or the reply was lost."""
        self._had_error = True

    def take_forgotten(self) -> bool:
        """Whether the server has forgotten an entry since the last call."""
        is_forgotten, self._is_forgotten = self._is_forgotten, False
        return is_forgotten


def is_forgotten(client: redis.Redis, key: str, entry: str) -> bool:
    """Whether the stream has lost its entry `entry`, and has older ones. Of a trimmed stream older ones are gone, too.
    Raises redis-py's errors."""
    with client.pipeline(transaction=False) as pipe:
        pipe.xrange(key, min=entry, max=entry)
        pipe.xrange(key, count=1)
        there, first = map(decoded, pipe.execute())
    return _is_between(entry, there, first)


async def is_forgotten_async(client: redis.asyncio.Redis, key: str, entry: str) -> bool:
    """The same, on an event loop."""
    async with client.pipeline(transaction=False) as pipe:
        pipe.xrange(key, min=entry, max=entry)
        pipe.xrange(key, count=1)
        there, first = map(decoded, await pipe.execute())
    return _is_between(entry, there, first)


def _is_between(entry: str, there: list[Entry], first: list[Entry]) -> bool:
    return not there and bool(first) and parse_id(first[0][0]) < parse_id(entry)
