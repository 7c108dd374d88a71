"""A run's orders, the shape and status that they give, and the list of the runs that a server holds.

Every reader gets all orders, from the first. The list is one key for the whole server, and no evidence: a run that is
listed may be over, or gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Any, Final

import msgspec
import redis
import redis.asyncio
from redis.exceptions import ResponseError

from broker.envelope import is_robot, is_run
from broker.errors import Unavailable
from broker.ports.robot import Order, OrderName
from broker.relay.core import parse_id
from broker.streams import keys
from broker.streams.connection import block_ms
from broker.streams.keys import Keys
from broker.streams.reading import Entry, decoded_one, read_all_blocking
from broker.streams.retry import RETRY_S, TROUBLE, retry_blocking
from broker.streams.run.probes import clock_of

Shape = tuple[int, tuple[str, ...]]
"""How many shards a run has, and the names of the robots that it was dealt with."""

NO_SHAPE: Final[Shape] = (0, ())

_read_shape = msgspec.msgpack.Decoder(Shape).decode


def shape_in(orders: list[Entry]) -> Shape | None:
    """The run's shape, as its deal left it; None when it was not dealt, or its orders are lost."""
    try:
        shape: Shape = _read_shape(orders[0][1][keys.SHAPE])
    except (LookupError, ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return None
    return shape


def joined_in(orders: Iterable[Order]) -> tuple[str, ...]:
    """The robots that joined, each once, in their order. What is no robot's name is passed over."""
    names = (order.content.decode("ascii", "replace") for order in orders if order.order == "joined")
    return tuple(dict.fromkeys(filter(is_robot, names)))


def everybody_in(entries: list[Entry]) -> Shape:
    """The shape of the run whose orders these are, with the robots that joined; (0, ()) when it was not dealt."""
    shards, robots = shape_in(entries) or NO_SHAPE
    return shards, (*robots, *joined_in(orders_in(entries)))


def ever_in(entries: list[Entry]) -> Shape:
    """`everybody_in`, with the robots that were about to join: all that a removal has to look for."""
    shards, robots = everybody_in(entries)
    joining = (fields.get(keys.CONTENT, b"") for _, fields in entries if fields.get(keys.ORDER) == JOINING)
    names = (content.decode("ascii", "replace") for content in joining)
    return shards, tuple(dict.fromkeys((*robots, *filter(is_robot, names))))


JOINING: Final = b"joining"
"""No order: the robot's streams are about to be made. Readers of orders pass it over."""

_NAMES: Final[dict[bytes, OrderName]] = {
    b"dealt": "dealt",
    b"begin": "begin",
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
    """The orders in a stream's entries. What is no order is passed over: anybody may write there."""
    named = ((entry, _NAMES.get(fields.get(keys.ORDER, b"")), fields) for entry, fields in entries)
    return [Order(entry, name, fields.get(keys.CONTENT, b"")) for entry, name, fields in named if name is not None]


class StreamRuns:
    """The list. Every method raises redis-py's errors; each may be called again."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def add(self, run: str) -> None:
        """List a run as dealt now, by the server's clock; one that is listed keeps its place."""
        self._client.zadd(keys.RUNS, {run: clock_of(self._client, keys.RUNS)}, nx=True)

    def forget(self, run: str) -> None:
        """Take a run off the list."""
        self._client.zrem(keys.RUNS, run)

    def newest_first(self) -> list[str]:
        """The listed runs, the last one dealt first."""
        return list(self.dealt_us())

    def dealt_us(self) -> dict[str, int]:
        """The same, each with the time of its deal in microseconds since 1970. Anybody may write there: what is no
        run's name is passed over."""
        listed: Any = self._client.zrevrange(keys.RUNS, 0, -1, withscores=True)
        named = ((run.decode(errors="replace"), score) for run, score in listed)
        return {run: _whole(score) for run, score in named if is_run(run)}


def _whole(score: float) -> int:
    """A score that is not finite was written by hand."""
    return int(score) if isfinite(score) else 0


class RunStatus(msgspec.Struct, frozen=True):
    """A run's orders, summed up; `robots` are those that it was dealt with, and those that joined since. Times are the
    server's, in milliseconds; None: not yet."""

    shards: int
    robots: tuple[str, ...]
    go_ms: int | None = None
    stop: str | None = None  # the reason
    may_begin: bool = False  # a person let it begin, if it was held back


def read_run_status(client: redis.Redis, run: str, retry_s: float = RETRY_S) -> RunStatus | None:
    """The run's status; None when the server has no such run, or its orders cannot be read. Raises Unavailable."""
    key = Keys(run).orders

    def read() -> list[Entry]:
        try:
            return read_all_blocking(client, key)
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            return []

    entries = retry_blocking("orders", read, retry_s)
    shape, orders = shape_in(entries), orders_in(entries)
    if shape is None:
        return None
    shards, robots = shape
    run_status = RunStatus(shards, (*robots, *joined_in(orders)))
    for order in orders:
        if order.order == "go" and run_status.go_ms is None:
            run_status = msgspec.structs.replace(run_status, go_ms=parse_id(order.entry)[0])
        elif order.order == "stop":
            run_status = msgspec.structs.replace(run_status, stop=order.text)
        elif order.order == "begin":
            run_status = msgspec.structs.replace(run_status, may_begin=True)
    return run_status
