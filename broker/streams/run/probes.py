"""Single questions to a run's server: its answer, its clock, and what it holds of a run. Reads only."""

from __future__ import annotations

import time
from typing import Any

import redis
import redis.asyncio

from broker.errors import Unavailable
from broker.streams.connection import DataClient, server_for_async, servers_of
from broker.streams.keys import Keys
from broker.streams.retry import retry, retry_blocking
from telemetry.clock import SystemClock, error_us


def ping(client: DataClient, run: str) -> None:
    """Return when the server answers; in a cluster, the one that holds the run's orders. Asked once. Raises
    Unavailable."""
    retry_blocking("ping", lambda: client.exists(Keys(run).orders), retry_s=0)


def ping_all(client: redis.Redis) -> None:
    """Return when the server answers; of a cluster, all masters. Asked once. Raises Unavailable."""
    retry_blocking("ping", lambda: [server.ping() for server in servers_of(client)], retry_s=0)


def now_us(client: DataClient, run: str, retry_s: float = 0.0) -> int:
    """The server's clock, which dates entries, in microseconds since 1970. In a cluster, that of the server which holds
    the run's orders, events and fleet log; outboxes and inboxes may be dated by others. Raises Unavailable."""
    return retry_blocking("clock", lambda: clock_of(client, Keys(run).orders), retry_s)


def clock_of(client: DataClient, key: str) -> int:
    """The clock of the server that holds `key`, in microseconds since 1970. Raises redis-py's errors."""
    with client.pipeline(transaction=False) as pipe:
        pipe.exists(key)  # TIME, which has no key, goes where this goes
        pipe.time()
        _, (seconds, microseconds) = pipe.execute()
    return int(seconds) * 1_000_000 + int(microseconds)


def clock_by(client: DataClient, run: str) -> SystemClock:
    """This machine's clocks, the wall clock set right by the server's (`now_us`); as it is when the server does not
    answer now."""
    try:
        now_us(client, run)  # it may have to connect first, which takes time
        asked_us, server_us = _wall_us(), now_us(client, run)
    except Unavailable:
        return SystemClock()
    return SystemClock(error_us(asked_us, server_us, _wall_us()))


async def clock_by_async(client: redis.asyncio.Redis, run: str) -> SystemClock:
    """The same for an event loop, and a client that is connected; retried. Raises Unavailable."""

    async def ask() -> SystemClock:
        server = await server_for_async(client, Keys(run).orders)
        asked_us = _wall_us()
        seconds, microseconds = await server.time()
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
