"""A robot's mail: the outbox of its shard, as it writes to it, and its own inbox."""

from __future__ import annotations

from typing import Any, Final

import redis.asyncio
from redis.exceptions import ResponseError

from broker.plan import Control, encode_control
from broker.ports import Delivery, Unavailable
from broker.streams import keys
from broker.streams.connection import block_ms
from broker.streams.patience import PATIENCE_S, TROUBLE, insist
from broker.streams.reading import Entry, decoded_one

OUTBOX_LIMIT: Final = 100_000  # entries; the relay keeps an outbox far below it unless it is away
INBOX_LIMIT: Final = 100_000  # entries, about; the relay trims beyond it

GROUP: Final = "robot"
READER: Final = "robot"

_MEASURED_EVERY: Final = 32


class StreamOutbox:
    """`ports.Outbox` on a shard's stream.

    The length is measured at every 32nd send (oftener for a very small limit) and, while the outbox is full, at every
    send: all writers of a shard together may exceed the limit by up to 32 entries each. Entries that the relay has
    done with count until it trims them.
    """

    def __init__(
        self, client: redis.asyncio.Redis, key: str, limit: int = OUTBOX_LIMIT, patience_s: float = PATIENCE_S
    ) -> None:
        self._client = client
        self._key = key
        self._limit = limit
        self._patience_s = patience_s
        self._unmeasured = 0

    async def send(self, frame: bytes) -> bool:
        """Put an envelope's frame there, once at most. False: full, away, or it is not known."""
        try:
            if self._unmeasured == 0:
                if await self._client.xlen(self._key) >= self._limit:
                    return False
                self._unmeasured = max(1, min(_MEASURED_EVERY, self._limit // 100))
            self._unmeasured -= 1
            return await self._put({keys.ENVELOPE: frame})
        except TROUBLE:
            return False

    async def announce(self, control: Control) -> None:
        """Put a control entry there, for certain (twice does no harm). Raises Unavailable."""
        frame = encode_control(control)

        async def put() -> bool:
            return await self._put({keys.CONTROL: frame})

        if not await insist("outbox", put, self._patience_s):
            raise Unavailable(f"outbox: {self._key} is gone")

    async def _put(self, fields: dict[Any, Any]) -> bool:
        """False when the stream is gone: a new one would know neither plan nor births."""
        return await self._client.xadd(self._key, fields, nomkstream=True) is not None


class StreamInbox:
    """`ports.Inbox` on a robot's stream, which a consumer group reads.

    First comes what is pending: read from id 0 onwards, the cursor following, until nothing is left; then what is new.
    Any trouble begins this again, so that no entry handed out in a lost reply is forgotten. Then an entry that the
    caller has but did not acknowledge yet comes once more.
    """

    def __init__(self, client: redis.asyncio.Redis, key: str) -> None:
        self._client = client
        self._key = key
        self._grouped = False
        self._cursor: str | None = "0"  # in what is pending; None: that is read
        self._done: dict[str, None] = {}  # acknowledged, and not known to be stored; in order

    async def receive(self, limit: int, wait_us: int) -> list[Delivery]:
        """At most `limit` entries not yet acknowledged; waits at most `wait_us`. Does not insist: raises Unavailable
        at once."""
        cursor, self._cursor = self._cursor, "0"  # until the reply is here, whatever cuts this call short
        try:
            await self._ensure_group()
            entries = await self._read(limit, cursor, None) if cursor is not None else []
            if entries:
                self._cursor = entries[-1][0]
            else:
                entries = await self._read(limit, ">", block_ms(wait_us))
                self._cursor = None
        except TROUBLE as error:
            self._grouped = False
            raise Unavailable(f"inbox: {error}") from error
        return [_delivery(entry) for entry in entries]

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
        if self._grouped:
            return
        try:
            await self._client.xgroup_create(self._key, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):  # an earlier life made it
                raise
        self._grouped = True

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
    return Delivery(name, int(fields.get(keys.COPY, b"0")), fields.get(keys.ENVELOPE))
