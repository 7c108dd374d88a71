"""Single questions to a run's server: its answer, its clock, and what it holds of a run. Reads only."""

from __future__ import annotations

import time
from typing import Any

import redis.asyncio

from broker.errors import Unavailable
from broker.streams.connection import DataClient
from broker.streams.keys import Keys
from broker.streams.retry import retry, retry_blocking
from telemetry.clock import SystemClock, error_us


def ping(client: DataClient) -> None:
    """Return when the server answers. Asked once. Raises Unavailable."""
    retry_blocking("ping", client.ping, retry_s=0)


def now_us(client: DataClient, retry_s: float = 0.0) -> int:
    """The server's clock, which dates every entry, in microseconds since 1970. Raises Unavailable."""
    seconds, microseconds = retry_blocking("clock", client.time, retry_s)
    return int(seconds) * 1_000_000 + int(microseconds)


def clock_by(client: DataClient) -> SystemClock:
    """This machine's clocks, the wall clock set right by the server's; as it is when the server does not answer now."""
    try:
        now_us(client)  # it may have to connect first, which takes time
        asked_us, server_us = _wall_us(), now_us(client)
    except Unavailable:
        return SystemClock()
    return SystemClock(error_us(asked_us, server_us, _wall_us()))


async def clock_by_async(client: redis.asyncio.Redis) -> SystemClock:
    """The same for an event loop, and a client that is connected; retried. Raises Unavailable."""

    async def ask() -> SystemClock:
        asked_us = _wall_us()
        seconds, microseconds = await client.time()
        return SystemClock(error_us(asked_us, seconds * 1_000_000 + microseconds, _wall_us()))

    return await retry("clock", ask)


def _wall_us() -> int:
    return time.time_ns() // 1000


def holds_run(client: DataClient, run: str) -> bool:
    """Whether the server holds the run: its orders are the first to come, and the last to go. Raises Unavailable."""
    return bool(retry_blocking("orders", lambda: client.exists(Keys(run).orders), retry_s=0))


def relay_of(client: DataClient, run: str, shard: int, retry_s: float = 0.0) -> str | None:
    """The token of the relay that holds a shard's lease; None when none does. Raises Unavailable."""
    token = retry_blocking("lease", lambda: _text_at(client, Keys(run).lease(shard)), retry_s)
    return None if token is None else bytes(token).decode(errors="replace")


def relay_lease_left_ms(client: DataClient, run: str, shard: int) -> int:
    """How long a shard's lease is still good; 0 when it is over, or never runs out. Asked once. Raises Unavailable."""
    return max(0, int(retry_blocking("lease", lambda: client.pttl(Keys(run).lease(shard)), retry_s=0)))


def _text_at(client: DataClient, key: str) -> Any:
    """None as well where anybody has put something else."""
    return client.get(key) if client.type(key) == b"string" else None
