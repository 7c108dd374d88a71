"""The run's stream of events, as a robot or a relay writes to it."""

from __future__ import annotations

from typing import Any

import redis.asyncio

from broker.streams import keys
from broker.streams.patience import TROUBLE


class StreamEventLog:
    """`ports.EventLog` on a stream. A batch whose reply was lost counts as not stored: it may come twice, and its
    reader knows events by their source's numbers. When the run is gone, nobody will read: the batch is let go."""

    def __init__(self, client: redis.asyncio.Redis, key: str) -> None:
        self._client = client
        self._key = key

    async def append(self, frame: bytes) -> bool:
        """Store a batch of events; False: not stored, keep it."""
        fields: dict[Any, Any] = {keys.EVENTS: frame}
        try:
            await self._client.xadd(self._key, fields, nomkstream=True)
        except TROUBLE:
            return False
        return True
