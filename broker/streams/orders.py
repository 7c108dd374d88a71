"""The run's orders, as one robot reads them: every reader sees all of them, from the first."""

from __future__ import annotations

from typing import Final

import redis.asyncio

from broker.ports import Order, OrderName, Unavailable
from broker.streams import keys
from broker.streams.connection import block_ms
from broker.streams.patience import TROUBLE
from broker.streams.reading import Entry, decoded_one

_NAMES: Final[dict[bytes, OrderName]] = {
    b"dealt": "dealt",
    b"go": "go",
    b"joined": "joined",
    b"crash": "crash",
    b"stop": "stop",
}


class StreamOrders:
    """`ports.Orders` on the run's stream; the cursor is this object's own."""

    def __init__(self, client: redis.asyncio.Redis, key: str) -> None:
        self._client = client
        self._key = key
        self._cursor = "0"

    async def read(self, wait_us: int) -> list[Order]:
        """Orders not seen yet, in order; waits at most `wait_us` for one. Raises Unavailable."""
        try:
            entries = decoded_one(await self._client.xread({self._key: self._cursor}, block=block_ms(wait_us)))
        except TROUBLE as error:
            raise Unavailable(f"orders: {error}") from error
        if entries:
            self._cursor = entries[-1][0]
        return orders_in(entries)


def orders_in(entries: list[Entry]) -> list[Order]:
    """The orders in a stream's entries. What is none is passed over: anybody may write there."""
    named = ((entry, _NAMES.get(fields.get(keys.ORDER, b"")), fields) for entry, fields in entries)
    return [Order(entry, name, fields.get(keys.WORDS, b"")) for entry, name, fields in named if name is not None]
