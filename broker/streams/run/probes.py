"""Single questions to a run's server: its answer, its clock, and what it holds of a run. Reads only."""

from __future__ import annotations

from typing import Any

from broker.streams.connection import DataClient
from broker.streams.keys import Keys
from broker.streams.retry import retry_blocking


def ping(client: DataClient, run: str) -> None:
    """Return when the server answers; in a cluster, the one that holds the run's orders. Asked once. Raises
    Unavailable."""
    retry_blocking("ping", lambda: client.exists(Keys(run).orders), retry_s=0)


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


def holds_run(client: DataClient, run: str) -> bool:
    """Whether the server holds the run: its orders are the first to come, and the last to go. Raises Unavailable."""
    return bool(retry_blocking("orders", lambda: client.exists(Keys(run).orders), retry_s=0))


def relay_of(client: DataClient, run: str, shard: int, retry_s: float = 0.0) -> str | None:
    """The token of the relay that holds a shard's lease; None when none does. Raises Unavailable."""
    token: Any = retry_blocking("lease", lambda: client.get(Keys(run).lease(shard)), retry_s)
    return None if token is None else bytes(token).decode(errors="replace")
