"""Which runs a server holds, by the time of their deals: one key for the whole server, and the only one of its kind.

It is a signpost, no evidence: a run that is listed may be over, or gone.
"""

from __future__ import annotations

from typing import Any

import redis

from broker.shards import is_run
from broker.streams import keys


class StreamRuns:
    """The list. Every method raises redis-py's errors; each may be called again."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def add(self, run: str) -> None:
        """List a run as dealt now, by the server's clock; one that is listed keeps its place."""
        seconds, microseconds = self._client.time()
        self._client.zadd(keys.RUNS, {run: int(seconds) * 1_000_000 + int(microseconds)}, nx=True)

    def forget(self, run: str) -> None:
        """Take a run off the list."""
        self._client.zrem(keys.RUNS, run)

    def newest_first(self) -> list[str]:
        """The listed runs, the last one dealt first. Anybody may write there: what is no run's name is passed over."""
        listed: Any = self._client.zrevrange(keys.RUNS, 0, -1)
        return list(filter(is_run, (run.decode(errors="replace") for run in listed)))
