"""A robot's journal as a stream. The ids are our own, `<incarnation>-<n>`, never `*`: they count, and they fence."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import redis.asyncio
from redis.asyncio.client import Pipeline
from redis.exceptions import WatchError

from broker.errors import Fenced, JournalLost
from broker.ports.robot import JournalRow
from broker.relay.core import parse_id
from broker.streams import keys
from broker.streams.reading import OF_JOURNAL, Entry, is_own, journal_rows, read_all
from broker.streams.retry import RETRY_S, retry
from broker.streams.robot.own_entries import expel, last_entry


class StreamJournal:
    """`ports.Journal` on a stream.

    What this life has appended is kept in memory as well. Every append reads the stream's last entry first, and
    writes what is missing from there on, in one transaction. So a lost reply is noticed (nothing is missing), and a
    server that came back older gets its last entries again under the same ids.

    An append that raised Unavailable may be repeated with the same contents; another append completes it first.
    Foreign entries are passed over by `replay`, and expelled by the next append that they would block.
    """

    def __init__(self, client: redis.asyncio.Redis, key: str, nonce: str, retry_s: float = RETRY_S) -> None:
        self._client = client
        self._key = key
        self._nonce = nonce
        self._retry_s = retry_s
        self._incarnation = 0
        self._contents: list[bytes] = []  # of this life: number n stands at place n - 1
        self._acknowledged = 0  # how many of them the server has had for certain
        self._in_doubt: list[bytes] | None = None
        self._foreign = 0
        self._has_server_forgotten = False
        self._lock = asyncio.Lock()

    @property
    def foreign(self) -> int:
        """How many entries of other clients this life has expelled."""
        return self._foreign

    async def replay(self) -> list[JournalRow]:
        """All entries of this robot, in order, those in doubt included. Raises Fenced (if any were), JournalLost,
        Unavailable."""
        async with self._lock:
            if self._in_doubt is not None:  # an append was cut short: what it meant to store is stored first
                await self._settle()
        entries = await retry("journal", lambda: read_all(self._client, self._key), self._retry_s)
        rows = journal_rows(entries)
        if not rows:
            raise JournalLost(self._key)
        return rows

    async def append(self, incarnation: int, contents: Sequence[bytes]) -> None:
        """Store `contents` in order, as this life's next entries. Raises Fenced, JournalLost, Unavailable."""
        async with self._lock:
            self._intend(incarnation, list(contents))
            await self._settle()

    async def restore(self) -> bool:
        """Append again what the server forgot of this life's entries; whether it forgot any since the last call. While
        an append is in doubt, the one that repeats it does so. Raises Fenced, JournalLost, Unavailable."""
        async with self._lock:
            if self._contents and self._in_doubt is None:
                await retry("journal", self._complete, self._retry_s)
            has_forgotten, self._has_server_forgotten = self._has_server_forgotten, False
            return has_forgotten

    async def _settle(self) -> None:
        """Bring what is in doubt to a definite end: stored, or never to be."""
        try:
            await retry("journal", self._complete, self._retry_s)
        except (Fenced, JournalLost):
            self._in_doubt = None
            raise
        self._in_doubt = None

    def _intend(self, incarnation: int, contents: list[bytes]) -> None:
        if incarnation != self._incarnation:
            self._incarnation, self._contents, self._acknowledged, self._in_doubt = incarnation, [], 0, None
        if contents != self._in_doubt:
            self._contents += contents
        self._in_doubt = contents

    async def _complete(self) -> None:
        """Write what the stream lacks of this life's contents."""
        async with self._client.pipeline(transaction=True) as pipe:
            await pipe.watch(self._key)
            last = await last_entry(pipe, self._key)
            if last and not is_own(last[0], OF_JOURNAL):
                await self._expel()
                raise WatchError("it was written by another client")  # tried again
            stored = self._count_stored(last)
            self._has_server_forgotten |= stored < self._acknowledged
            if stored < len(self._contents):
                await self._write(pipe, stored)
        self._acknowledged = len(self._contents)

    async def _write(self, pipe: Pipeline, stored: int) -> None:
        pipe.multi()  # type: ignore[no-untyped-call]
        for number, content in enumerate(self._contents[stored:], start=stored + 1):
            fields: dict[Any, Any] = {keys.ENTRY: content, keys.NONCE: self._nonce}
            pipe.xadd(self._key, fields, id=f"{self._incarnation}-{number}", nomkstream=True)
        await pipe.execute()

    async def _expel(self) -> None:
        self._foreign += await expel(self._client, self._key, OF_JOURNAL)

    def _count_stored(self, last: list[Entry]) -> int:
        """How many of this life's contents stand in the stream, given its last entry."""
        if not last:
            raise JournalLost(self._key)
        [(entry, fields)] = last
        incarnation, number = parse_id(entry)
        if incarnation < self._incarnation:
            return 0
        mine = incarnation == self._incarnation and fields.get(keys.NONCE) == self._nonce.encode()
        if not mine or number > len(self._contents) or fields.get(keys.ENTRY) != self._contents[number - 1]:
            raise Fenced(self._key)
        return number
