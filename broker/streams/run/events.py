"""The run's stream of events: written by every process of the run, read by those that attach to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import redis
import redis.asyncio
from redis.exceptions import RedisError

from broker.errors import Unavailable
from broker.streams import keys
from broker.streams.reading import Entry, decoded_one
from broker.streams.retry import TROUBLE, retry_blocking
from broker.streams.run.remembered import LastStored, is_forgotten, is_forgotten_async


class StreamEventLog:
    """`feed.EventLog` on a stream. A batch whose reply was lost counts as not stored: it may come twice, and its
    reader knows events by their source's numbers. When the run is gone, the batch is dropped."""

    def __init__(self, client: redis.asyncio.Redis, key: str) -> None:
        self._client = client
        self._key = key
        self._last = LastStored()

    async def append(self, frame: bytes) -> bool:
        """Store a batch of events; False: not stored, keep it."""
        fields: dict[Any, Any] = {keys.EVENTS: frame}
        try:
            if (entry := self._last.in_doubt) is not None:
                self._last.found(await is_forgotten_async(self._client, self._key, entry))
            stored: Any = await self._client.xadd(self._key, fields, nomkstream=True)
            self._last.stored(stored)
        except TROUBLE:
            self._last.failed()
            return False
        return True

    def take_forgotten(self) -> bool:
        """Whether the server was found, since the last call, to have forgotten a batch that it had stored."""
        return self._last.take_forgotten()


class BlockingEventLog:
    """The same for a process without an event loop."""

    def __init__(self, client: redis.Redis, key: str) -> None:
        self._client = client
        self._key = key
        self._last = LastStored()

    def append(self, frame: bytes) -> bool:
        """Store a batch of events; False: not stored, keep it. When the run is gone, it is dropped."""
        try:
            if (entry := self._last.in_doubt) is not None:
                self._last.found(is_forgotten(self._client, self._key, entry))
            stored: Any = self._client.xadd(self._key, {keys.EVENTS: frame}, nomkstream=True)
            self._last.stored(stored)
        except RedisError:
            self._last.failed()
            return False
        return True

    def take_forgotten(self) -> bool:
        """As above."""
        return self._last.take_forgotten()


KEPT: Final = 10_000  # batches that the recorder leaves for readers that join later
_BATCHES: Final = 256  # entries of the stream in one read
_TRIMS: Final = 10  # while as many batches are read as are kept


class StreamEventSource:
    """The run's stream of events, for one reader with a cursor of its own. With `keep` it is the recorder's: of what it
    has read, all but about the last `keep` batches are forgotten, which are for readers that join later. Nothing is
    ever forgotten that it has not read. To other readers what is trimmed is missing, which only the numbers of the
    events show (EventFeed.missed)."""

    def __init__(self, client: redis.Redis, key: str, keep: int | None = None) -> None:
        self._client = client
        self._key = key
        self._keep = keep
        self._cursor = "0"
        self._is_older = False
        self._marks: deque[str] = deque()  # ids that were read, at even distances; the newest `_TRIMS`
        self._unmarked = 0

    def read(self, retry_s: float = 0.0) -> list[bytes]:
        """The frames that came since the last call; those that came before a server was away for longer than
        `retry_s`."""
        frames: list[bytes] = []
        with suppress(Unavailable):
            for page in self.pages(retry_s):
                frames += page
        return frames

    def pages(self, retry_s: float = 0.0) -> Iterator[list[bytes]]:
        """The frames that came since the last call, a page at a time, to the end of the stream. Raises Unavailable when
        a server is away for longer than `retry_s` before that end; the next call goes on from there."""
        while entries := retry_blocking("events", self._page, retry_s):
            self._cursor = entries[-1][0]
            yield [fields[keys.EVENTS] for _, fields in entries if keys.EVENTS in fields]
            self._forget(len(entries))

    def is_older(self) -> bool:
        """Whether the server came back older: it has forgotten a batch that was read here. False while that is not
        known: nothing was read, the server does not answer, or the batch may be trimmed."""
        with suppress(*TROUBLE):
            self._compare()
        return self._is_older

    def _page(self) -> list[Entry]:
        entries = decoded_one(self._client.xread({self._key: self._cursor}, count=_BATCHES))
        if entries:  # before the cursor moves on: a server that came back older gets new batches at once
            self._compare()
        return entries

    def _compare(self) -> None:
        """Look whether the last batch that was read is still there."""
        if self._cursor != "0" and not self._is_older:
            self._is_older = is_forgotten(self._client, self._key, self._cursor)

    def _forget(self, came: int) -> None:
        """Now and then, trim what lies `keep` behind the cursor. A trim that fails is made up for by the next."""
        if self._keep is None:
            return
        self._unmarked += came
        if self._unmarked < self._keep // _TRIMS:
            return
        self._unmarked = 0
        self._marks.append(self._cursor)
        if len(self._marks) > _TRIMS:
            with suppress(RedisError):
                self._client.xtrim(self._key, minid=self._marks.popleft(), approximate=True)
