"""A robot's mail on streams: the outbox of its shard, its own inbox, and the counter of entries that were trimmed from
the inbox before the robot read them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import redis.asyncio
from redis.exceptions import OutOfMemoryError, ResponseError

from broker.control_entries import Control, encode_control
from broker.errors import Unavailable
from broker.ports.robot import Delivery, SendResult
from broker.relay.core import Id, parse_id
from broker.streams import keys
from broker.streams.connection import block_ms
from broker.streams.reading import Entry, decoded_one
from broker.streams.retry import RETRY_S, TROUBLE, retry
from broker.streams.run.remembered import LastStored, is_forgotten_async

_COUNT_EVERY: Final = 256  # entries that came; far below a full inbox, so no overflow is over between two counts

Counters = Mapping[str, Any]
"""XINFO of a stream, or of a group."""


class TrimmedEntries:
    """How many entries of a trimmed stream its consumer group never got; `lost` only grows. Sends no commands.

    An entry's place is its number in the stream, from 1, trimmed ones included. Every entry up to the place that the
    group has reached either came to its reader or is lost. The server's counters are cumulative, so rare counts miss
    nothing.
    """

    def __init__(self) -> None:
        self.lost = 0
        self._place: int | None = None  # up to which all entries came or are lost
        self._newest: Id = (0, 0)  # that came
        self._uncounted = 0

    @property
    def has_begun(self) -> bool:
        """Whether the place where this reader began is known."""
        return self._place is not None

    @property
    def is_due(self) -> bool:
        """Whether enough entries came since the last count for the next one."""
        return self._uncounted >= _COUNT_EVERY

    def reset(self) -> None:
        """The stream is a new one, with places of its own."""
        self._place, self._newest = None, (0, 0)

    def came(self, entries: Sequence[str]) -> None:
        """Entries came, in order. One that came before, or to an earlier life, may come again: it is not counted."""
        if not entries or self._place is None or parse_id(entries[-1]) <= self._newest:
            return
        new = [entry for entry in map(parse_id, entries) if entry > self._newest]
        self._place += len(new)
        self._uncounted += len(new)
        self._newest = new[-1]

    def count(self, stream: Counters, group: Counters) -> None:
        """Compare with the server's counters, nothing being on its way; the first time, begin there."""
        self._uncounted = 0
        reached, trimmed = _reached(stream, group), stream["entries-added"] - stream["length"]
        if self._place is None:
            self._place, self._newest = reached, parse_id(group["last-delivered-id"].decode())
        # What an earlier life that is not quite dead takes for itself counts as well, but never more than was trimmed.
        gap = min(max(reached, trimmed) - self._place, trimmed)
        if gap > 0:
            self.lost += gap
            self._place += gap


def _reached(stream: Counters, group: Counters) -> int:
    """The place of the group's last delivered entry. Redis before 7.2.6 does not count in `entries-read` what a group
    skipped. There the place is certain only when the group has caught up: a loss may be noticed later, and a life that
    begins behind may count losses of earlier lives again."""
    if group["last-delivered-id"] == stream["last-generated-id"]:
        return int(stream["entries-added"])
    return int(group["entries-read"] or 0)


OUTBOX_LIMIT: Final = 100_000  # entries; the relay keeps an outbox far below it unless it is away
GROUP: Final = "robot"
READER: Final = "robot"
_MEASURED_EVERY: Final = 32
_MOST_DIGITS: Final = 9  # of a copy's number


class StreamOutbox:
    """`ports.Outbox` on a shard's stream.

    The length is measured at every 32nd send (oftener for a very small limit) and, while the outbox is full, at every
    send: all writers of a shard together may exceed the limit by up to 32 entries each. Entries that the relay has
    finished count until it trims them.
    """

    def __init__(
        self, client: redis.asyncio.Redis, key: str, limit: int = OUTBOX_LIMIT, retry_s: float = RETRY_S
    ) -> None:
        self._client = client
        self._key = key
        self._limit = limit
        self._retry_s = retry_s
        self._unmeasured = 0
        self._last = LastStored()

    async def send(self, frame: bytes) -> SendResult:
        """Put an envelope's frame there, once at most. FULL also when the server has no memory left."""
        try:
            if self._unmeasured == 0:
                if await self._client.xlen(self._key) >= self._limit:
                    return SendResult.FULL
                self._unmeasured = max(1, min(_MEASURED_EVERY, self._limit // 100))
            self._unmeasured -= 1
            return SendResult.SENT if await self._put({keys.ENVELOPE: frame}) else SendResult.AWAY
        except OutOfMemoryError:
            return SendResult.FULL
        except TROUBLE:
            return SendResult.AWAY

    async def announce(self, control: Control) -> None:
        """Put a control entry there, for certain (twice does no harm). Raises Unavailable."""
        frame = encode_control(control)

        async def put() -> bool:
            return await self._put({keys.CONTROL: frame})

        if not await retry("outbox", put, self._retry_s):
            raise Unavailable(f"outbox: {self._key} is gone")

    def take_forgotten(self) -> bool:
        """Whether the server was found, since the last call, to have forgotten an entry of this life."""
        return self._last.take_forgotten()

    async def _put(self, fields: dict[Any, Any]) -> bool:
        """False when the stream is gone: a new one would know neither plan nor births."""
        try:
            if (before := self._last.in_doubt) is not None:
                self._last.found(await is_forgotten_async(self._client, self._key, before))
            entry: Any = await self._client.xadd(self._key, fields, nomkstream=True)
        except TROUBLE:
            self._last.failed()
            raise
        self._last.stored(entry)
        return entry is not None


class StreamInbox:
    """`ports.Inbox` on a robot's stream, which a consumer group reads.

    First comes what is pending: read from id 0 onwards, the cursor following, until nothing is left; then what is new.
    An error begins this again, so that no entry of a lost reply is forgotten. Then an entry that the caller has but did
    not acknowledge yet comes once more.

    An entry may be of any length. So what is pending is read in small portions first: a reply that is too big to arrive
    in time would be requested again and again.
    """

    def __init__(self, client: redis.asyncio.Redis, key: str) -> None:
        self._client = client
        self._key = key
        self._grouped = False
        self._trimmed = TrimmedEntries()
        self._portion = 1  # entries in the next read of what is pending; doubled by each that went well
        self._cursor: str | None = "0"  # in what is pending; None: that is read
        self._done: dict[str, None] = {}  # acknowledged, and not known to be stored; in order

    async def receive(self, limit: int, wait_us: int) -> list[Delivery]:
        """At most `limit` entries not yet acknowledged; waits at most `wait_us`. Tried once: raises Unavailable
        at once."""
        cursor, self._cursor = self._cursor, "0"  # until the reply is here, whatever cuts this call short
        try:
            await self._ensure_group()
            entries = await self._read(min(limit, self._portion), cursor, None) if cursor is not None else []
            if entries:
                self._cursor = entries[-1][0]
                self._portion *= 2
            else:
                if self._trimmed.is_due:
                    await self._count_trimmed()
                entries = await self._read(limit, ">", block_ms(wait_us))
                self._cursor = None
        except TROUBLE as error:
            self._grouped = False
            self._portion = 1
            raise Unavailable(f"inbox: {error}") from error
        self._trimmed.came([entry for entry, _ in entries])
        return [_delivery(entry) for entry in entries]

    @property
    def lost(self) -> int:
        """Entries that were trimmed before any life read them, as far as this life has noticed."""
        return self._trimmed.lost

    def acknowledge(self, entry: str) -> None:
        """Never give `entry` out again. Travels with the next `receive`."""
        self._done[entry] = None

    async def flush(self) -> None:
        """Send acknowledgements now. Raises Unavailable."""
        done = list(self._done)
        if not done:
            return
        try:
            await self._client.xack(self._key, GROUP, *done)
        except TROUBLE as error:
            raise Unavailable(f"inbox: {error}") from error
        self._forget(done)

    async def _ensure_group(self) -> None:
        """Create the stream if need be; reader or relay may be the first. Unlike all other streams it may be created
        again: it held nothing but copies on their way. Their loss is like any loss (exchanges repeat what is not
        answered), and shows in the record: more copies were delivered than the inbox got."""
        if self._grouped:
            return
        try:
            await self._client.xgroup_create(self._key, GROUP, id="0", mkstream=True)
            self._trimmed.reset()
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):  # an earlier life made it
                raise
        if not self._trimmed.has_begun:
            await self._count_trimmed()
        self._grouped = True

    async def _count_trimmed(self) -> None:
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.xinfo_stream(self._key)
            pipe.xinfo_groups(self._key)
            stream, groups = await pipe.execute()
        for group in groups:
            if group["name"] == GROUP.encode():
                self._trimmed.count(stream, group)

    async def _read(self, limit: int, after: str, block: int | None) -> list[Entry]:
        done = list(self._done)
        async with self._client.pipeline(transaction=False) as pipe:
            if done:
                pipe.xack(self._key, GROUP, *done)
            pipe.xreadgroup(GROUP, READER, {self._key: after}, count=limit, block=block)
            replies = await pipe.execute()
        self._forget(done)
        return decoded_one(replies[-1])

    def _forget(self, done: list[str]) -> None:
        for entry in done:
            self._done.pop(entry, None)


def _delivery(entry: Entry) -> Delivery:
    name, fields = entry
    if not fields:
        return Delivery(name, 0, None)
    copy = fields.get(keys.COPY, b"0")
    if not copy.isdigit() or len(copy) > _MOST_DIGITS:
        return Delivery(name, 0, b"")
    return Delivery(name, int(copy), fields.get(keys.ENVELOPE, b""))
