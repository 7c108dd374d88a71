"""The write-once register, and the birth streams that fence it.

The dealer made the register's stream with the entry `0-1`. The write is an entry with the greatest id there is, so the
server itself refuses every other: no lock, no script, no coordinator. A register that is gone is never created again.
"""

from __future__ import annotations

from typing import Any

import redis.asyncio
from redis.asyncio.client import Pipeline
from redis.exceptions import ResponseError, WatchError

from broker.errors import Fenced, RegisterLost
from broker.ports.robot import GREATEST_ID
from broker.relay.core import Id, parse_id
from broker.streams import keys
from broker.streams.connection import LONGEST_BLOCK_MS, async_twin
from broker.streams.keys import Keys
from broker.streams.reading import OF_BIRTHS, Entry, decoded, is_own
from broker.streams.retry import OUTAGE, RETRY_S, retry
from broker.streams.robot.own_entries import expel, last_entry


class StreamRegister:
    """`ports.Register` on streams.

    A birth is the entry `<incarnation>-1` of the robot's birth stream, an attempt to write a later one of that
    incarnation. The stream refuses an older life's entries, and the write is made under its WATCH.
    """

    def __init__(
        self, client: redis.asyncio.Redis, run: Keys, robot: str, nonce: str, retry_s: float = RETRY_S
    ) -> None:
        self._client = client
        self._births = run.birth(robot)
        self._register = run.register
        self._robot = robot
        self._nonce = nonce
        self._retry_s = retry_s
        self._incarnation = 0
        self._newest: Id = (0, 0)  # of this life's entries in its birth stream, as far as known
        self._has_server_forgotten = False

    async def announce_birth(self, incarnation: int) -> None:
        """Announce this life. Raises Fenced, RegisterLost, Unavailable."""
        self._incarnation = incarnation
        await retry("birth", self._be_born, self._retry_s)

    async def write(self, secret: bytes, entry: str = GREATEST_ID) -> str | None:
        """Write `secret`, if no entry with the id `entry` or a later one is there; how its durability was ensured, or
        None when it was refused. Raises Fenced, RegisterLost, Unavailable."""
        # A wait for durability covers the writes of its own connection only: so there is but one.
        async with async_twin(self._client, connections=1) as alone:
            attempt = _Attempt(alone, self._register, self._births, self._fields(secret), entry)

            async def make() -> bool:
                await self._be_born()  # again, if the server came back without this birth
                return await attempt.make()

            is_accepted = await retry("register", make, self._retry_s)
            self._newest = max(self._newest, attempt.place)
            return await attempt.durability() if is_accepted else None

    async def restore_birth(self) -> bool:
        """Announce this life's birth again if the server forgot it; whether it forgot that, or this life's attempt to
        write, since the last call. Raises Fenced, RegisterLost, Unavailable.

        An attempt and the write stand there together, so a server that holds the attempt holds the secret."""
        if self._incarnation:
            await retry("birth", self._be_born, self._retry_s)
        has_forgotten, self._has_server_forgotten = self._has_server_forgotten, False
        return has_forgotten

    def _fields(self, secret: bytes) -> dict[bytes, bytes]:
        return {
            keys.ROBOT: self._robot.encode(),
            keys.INCARNATION: b"%d" % self._incarnation,
            keys.NONCE: self._nonce.encode(),
            keys.SECRET: secret,
        }

    async def _be_born(self) -> None:
        known = self._newest  # before the read: an attempt may be made meanwhile
        entry, fields = await self._last_birth()
        place = parse_id(entry)
        if place[0] > self._incarnation or (
            place[0] == self._incarnation and fields.get(keys.NONCE) != self._nonce.encode()
        ):
            raise Fenced(self._births)
        if place < known:
            self._has_server_forgotten, self._newest = True, place
        if place[0] < self._incarnation:
            birth: dict[Any, Any] = {keys.NONCE: self._nonce}
            if await self._client.xadd(self._births, birth, id=f"{self._incarnation}-1", nomkstream=True) is None:
                raise RegisterLost(self._births)
            place = (self._incarnation, 1)
        self._newest = max(self._newest, place)

    async def _last_birth(self) -> Entry:
        """The last entry of the birth stream that is this robot's own. Raises RegisterLost, redis-py's errors."""
        last = _only(await last_entry(self._client, self._births), self._births)
        if is_own(last, OF_BIRTHS):
            return last
        await expel(self._client, self._births, OF_BIRTHS)
        return _only(await last_entry(self._client, self._births), self._births)


class _Attempt:
    """One life's attempt to write, over one connection, made until its outcome is known."""

    def __init__(
        self, client: redis.asyncio.Redis, register: str, births: str, fields: dict[bytes, bytes], entry: str
    ) -> None:
        self._client = client
        self._register = register
        self._births = births
        self._fields = fields
        self._entry = entry
        self._made_at: set[bytes] = set()
        self._wrote_on: int | None = None  # the server's number of the connection that wrote
        self.place: Id = (0, 0)
        """Where the attempt stands in the birth stream, once `make` has returned."""

    async def make(self) -> bool:
        """Whether the register holds our secret now. The attempt is in the birth stream when this returns."""
        async with self._client.pipeline(transaction=True) as pipe:
            await pipe.watch(self._births)
            known = await self._outcome(pipe)
            if known is not None:
                return known
            connection = await pipe.client_id()
            replies = await self._transact(pipe)
        if replies[0] is None or replies[1] is None:
            raise RegisterLost(self._register)
        if isinstance(replies[0], ResponseError):
            raise replies[0]  # refused, most likely: the next attempt reads it
        self._wrote_on, self.place = connection, parse_id(replies[1].decode())
        return True

    async def _transact(self, pipe: Pipeline) -> list[Any]:
        seconds, microseconds = await pipe.time()
        at = b"%d" % (seconds * 1_000_000 + microseconds)
        self._made_at.add(at)
        write: dict[Any, Any] = dict(self._fields)
        attempt: dict[Any, Any] = {keys.NONCE: self._fields[keys.NONCE], keys.AT_US: at}
        incarnation = self._fields[keys.INCARNATION].decode()
        pipe.multi()  # type: ignore[no-untyped-call]
        pipe.xadd(self._register, write, id=self._entry, nomkstream=True)
        pipe.xadd(self._births, attempt, id=f"{incarnation}-*", nomkstream=True)
        return await pipe.execute(raise_on_error=False)

    async def _outcome(self, pipe: Pipeline) -> bool | None:
        """What is known already; None: the attempt has to be made."""
        mine = self._fields[keys.NONCE]
        last = _only(await last_entry(pipe, self._births), self._births)
        if not is_own(last, OF_BIRTHS):
            await expel(self._client, self._births, OF_BIRTHS)
            raise WatchError("it was written by another client")  # tried again
        newest, birth = last
        self.place = parse_id(newest)
        if birth.get(keys.NONCE) != mine:
            raise Fenced(self._births)
        entry, written = _only(decoded(await pipe.xrevrange(self._register, count=1)), self._register)
        if entry == self._entry and written.get(keys.NONCE) == mine:
            return True
        recorded = birth.get(keys.AT_US) in self._made_at
        return False if parse_id(entry) >= parse_id(self._entry) and recorded else None

    async def durability(self) -> str:
        """Wait until the write is safe, as far as this server can say: a `replica` has it, or else it is on this
        server's own disk (`aof`), or else `memory`."""
        try:
            if await self._client.client_id() != self._wrote_on:
                return "memory"  # another connection's wait would be about nothing
            replicas = (await self._client.info("replication")).get("connected_slaves", 0)
            if replicas and await self._reaches("WAIT", 1, LONGEST_BLOCK_MS):
                return "replica"
            if await self._reaches("WAITAOF", 1, 0, LONGEST_BLOCK_MS):
                return "aof"
        except OUTAGE:
            pass
        return "memory"

    async def _reaches(self, *command: str | int) -> bool:
        """Whether a wait counted one at least; an unknown command, or AOF switched off, counts none."""
        try:
            reply: Any = await self._client.execute_command(*command)  # type: ignore[no-untyped-call]
        except ResponseError:
            return False
        return bool(reply[0] if isinstance(reply, list) else reply)


def _only(last: list[Entry], key: str) -> Entry:
    if not last:
        raise RegisterLost(key)
    return last[0]
