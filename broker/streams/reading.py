"""Whole streams, read in pages, so that no single reply grows with the run; what their fields hold; and which entries
of a robot's journal and births are its own.
"""

from __future__ import annotations

from typing import Any, Final

import redis
import redis.asyncio

from broker.envelope import NO_LIFE
from broker.ports.robot import GREATEST_ID, JournalRow
from broker.relay.core import parse_id
from broker.streams import keys
from broker.streams.cluster import ClusterPipeline

Fields = dict[bytes, bytes]
Entry = tuple[str, Fields]

OF_JOURNAL: Final = (keys.ENTRY, keys.NONCE)
OF_BIRTHS: Final = (keys.NONCE,)
"""The fields of a robot's own entries in its journal, and in its birth stream."""

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


def is_own(entry: Entry, fields: tuple[bytes, ...]) -> bool:
    """Whether an entry of a journal or a birth stream is its robot's own: it has these `fields`, and its id counts
    lives (one that the server makes from its clock is far above any). Any client may write to a stream; a foreign entry
    is never evidence."""
    return parse_id(entry[0])[0] < NO_LIFE and all(field in entry[1] for field in fields)


def own(entries: list[Entry], fields: tuple[bytes, ...]) -> list[Entry]:
    """Those of the entries that are the robot's own."""
    return [entry for entry in entries if is_own(entry, fields)]


def journal_rows(entries: list[Entry]) -> list[JournalRow]:
    """The rows of a journal, foreign entries left out: the one rule for a robot and for all who read its journal."""
    return [JournalRow(*parse_id(entry), fields[keys.ENTRY]) for entry, fields in own(entries, OF_JOURNAL)]


def watch_and_ask(pipe: redis.client.Pipeline, keys: tuple[str, ...], *commands: tuple[str, ...]) -> list[Any]:
    """Watch `keys` for the transaction of `pipe` that comes next; the raw replies to `commands`. One round trip: with
    one for each command, as redis-py does it, a lease runs out far from the server. Raises redis-py's errors."""
    if isinstance(pipe, ClusterPipeline):
        pipe.turn_to(keys[0])
    connection: Any = pipe.connection_pool.get_connection()
    pipe.connection, pipe.watching = connection, True
    try:
        connection.send_packed_command(connection.pack_commands([("WATCH", *keys), *commands]))
        _, *replies = [connection.read_response() for _ in range(1 + len(commands))]
        return replies
    except BaseException:
        connection.disconnect()  # replies may be left
        raise


def number_in(content: bytes | None, otherwise: int) -> int:
    """The number in a field; `otherwise` when it holds none, because anybody may write there."""
    try:
        return int(content or b"")
    except ValueError:
        return otherwise


def _after(entries: list[Entry], begin: str = "-") -> str:
    return f"({entries[-1][0]}" if entries else begin
