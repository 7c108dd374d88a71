"""Whole streams, read in pages, so that no single reply grows with the run; and what their fields hold."""

from __future__ import annotations

from typing import Any, Final

import redis
import redis.asyncio

from broker.ports.robot import GREATEST_ID

Fields = dict[bytes, bytes]
Entry = tuple[str, Fields]

_PAGE: Final = 1000


async def read_all(client: redis.asyncio.Redis, key: str) -> list[Entry]:
    """Every entry of the stream `key`, in order; none when there is no such stream."""
    entries: list[Entry] = []
    while True:
        page = decoded(await client.xrange(key, min=_after(entries), count=_PAGE))
        entries += page
        if len(page) < _PAGE or page[-1][0] == GREATEST_ID:
            return entries


def read_all_blocking(client: redis.Redis, key: str, after: str = "") -> list[Entry]:
    """`read_all` for a process without an event loop; only what comes `after` that id, if one is given."""
    entries: list[Entry] = []
    begin = f"({after}" if after else "-"
    while True:
        page = decoded(client.xrange(key, min=_after(entries, begin), count=_PAGE))
        entries += page
        if len(page) < _PAGE or page[-1][0] == GREATEST_ID:
            return entries


def decoded(reply: Any) -> list[Entry]:
    """The entries in a reply of XRANGE or XREVRANGE."""
    return [(entry.decode(), fields) for entry, fields in reply]


def decoded_one(reply: Any) -> list[Entry]:
    """The entries in a reply of XREAD or XREADGROUP of a single stream; a trimmed entry has no fields."""
    return [(entry.decode(), fields or {}) for _key, entries in reply for entry, fields in entries]


def number_in(content: bytes | None, otherwise: int) -> int:
    """The number in a field; `otherwise` when it holds none, because anybody may write there."""
    try:
        return int(content or b"")
    except ValueError:
        return otherwise


def _after(entries: list[Entry], begin: str = "-") -> str:
    return f"({entries[-1][0]}" if entries else begin
