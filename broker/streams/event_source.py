"""The run's stream of events, as a process without an event loop reads and writes it."""

from __future__ import annotations

import redis
from redis.exceptions import RedisError

from broker.streams import keys
from broker.streams.reading import decoded_one

_BATCHES = 256  # entries of the stream in one read


class StreamEventSource:
    """Batches of events, each given once. A server that is away has nothing new to tell."""

    def __init__(self, client: redis.Redis, key: str) -> None:
        self._client = client
        self._key = key
        self._cursor = "0"

    def read(self) -> list[bytes]:
        """The frames that came since the last call."""
        frames: list[bytes] = []
        while True:
            try:
                reply = self._client.xread({self._key: self._cursor}, count=_BATCHES)
            except RedisError:
                return frames
            entries = decoded_one(reply)
            if not entries:
                return frames
            frames += [fields[keys.EVENTS] for _, fields in entries if keys.EVENTS in fields]
            self._cursor = entries[-1][0]


def append_events(client: redis.Redis, key: str, frame: bytes) -> bool:
    """Store a batch of events; False: not stored, keep it."""
    try:
        client.xadd(key, {keys.EVENTS: frame})
    except RedisError:
        return False
    return True
