"""Keeps a stream in which a robot writes under ids of its own, `<incarnation>-<n>`, free of foreign entries.

Any client may write there. A foreign entry with a greater id would make the server refuse every further entry of the
robot, as if a later life existed; so it is expelled, and the robot goes on if its own entries are whole.
"""

from __future__ import annotations

from typing import Any

import redis.asyncio

from broker.streams.reading import Entry, decoded, own, read_all


async def last_entry(client: redis.asyncio.Redis, key: str) -> list[Entry]:
    """The stream's last entry, foreign or not; none when there is no such stream."""
    return decoded(await client.xrevrange(key, count=1))


async def expel(client: redis.asyncio.Redis, key: str, fields: tuple[bytes, ...]) -> int:
    """Remove all foreign entries: those without `fields`, or with an id that no life has. How many there were.

    A stream's last id never falls, not even when its entry is deleted. So the stream is made anew, of the robot's own
    entries under their own ids, in one transaction that watches it: no reader sees it without them. A stream that
    holds nothing of the robot's is gone then. Raises redis-py's errors, WatchError when the stream changed.
    """
    async with client.pipeline(transaction=True) as pipe:
        await pipe.watch(key)
        entries = await read_all(pipe, key)
        kept = own(entries, fields)
        foreign = len(entries) - len(kept)
        if not foreign:
            return 0
        pipe.multi()  # type: ignore[no-untyped-call]
        pipe.delete(key)
        for entry, content in kept:
            again: dict[Any, Any] = dict(content)
            pipe.xadd(key, again, id=entry)
        await pipe.execute()
    return foreign
