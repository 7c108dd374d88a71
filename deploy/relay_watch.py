"""Whether anybody relays each shard of a run: told once when nobody does. Nothing is done about it here: whoever looks
on can start a relay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import redis

from broker.streams.keys import Keys
from broker.streams.retry import insist_blocking
from telemetry.events import AnyEvent, RelayMissing

LOOK_S: Final = 1.0
MISSING_S: Final = 3.0  # without anybody who holds the shard's lease; a successor takes it within one second


class RelayWatch:
    """For one run. To be asked now and then, with a monotonic clock's seconds."""

    def __init__(self, client: redis.Redis, run: str, shards: int, emit: Callable[[AnyEvent], None]) -> None:
        self._client = client
        self._leases = [Keys(run).lease(shard) for shard in range(shards)]
        self._emit = emit
        self._seen_s: dict[int, float] = {}
        self._told: dict[int, None] = {}
        self._looked_s = float("-inf")

    def look(self, now_s: float) -> None:
        """Raises Unavailable."""
        if now_s - self._looked_s < LOOK_S:
            return
        if now_s - self._looked_s > MISSING_S:
            self._seen_s.clear()  # nobody looked
        self._looked_s = now_s
        for shard, lease in enumerate(self._leases):
            if insist_blocking("relay", lambda lease=lease: self._client.exists(lease), patience_s=0):  # type: ignore[misc]
                self._seen_s[shard] = now_s
                self._told.pop(shard, None)
            elif now_s - self._seen_s.setdefault(shard, now_s) >= MISSING_S and shard not in self._told:
                self._told[shard] = None
                self._emit(RelayMissing(shard))
