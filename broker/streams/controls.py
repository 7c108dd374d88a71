"""A run's plan as onlookers see it: how it was dealt and begun, and which plan changes its relays have met.

Plain reading, and all of it tolerant: what is no order and no control entry is passed over.
"""

from __future__ import annotations

from typing import Final

import msgspec
import redis

from broker.plan import PlanChange, read_control
from broker.ports import Unavailable
from broker.relay import parse_id
from broker.streams import keys
from broker.streams.connection import block_ms
from broker.streams.desk import joined_in, shape_in
from broker.streams.keys import Keys
from broker.streams.orders import orders_in
from broker.streams.patience import PATIENCE_S, TROUBLE, insist_blocking
from broker.streams.reading import Entry, decoded_one, read_all_blocking

DEALT_MS: Final = 0  # the ids that a deal makes bear no time
_PAGE: Final = 1000  # entries of a stream in one read


class Course(msgspec.Struct, frozen=True):
    """What a run's orders tell; `robots` are those that it was dealt with, and those that joined since. Times are the
    server's, in milliseconds; None: not yet."""

    shards: int
    robots: tuple[str, ...]
    go_ms: int | None = None
    stop: str | None = None  # the reason


class Met(msgspec.Struct, frozen=True):
    """A plan change that the relay of a shard has met. `at_ms` is when it was put into the outbox, by the server's
    clock; DEALT_MS for what was dealt."""

    at_ms: int
    change: PlanChange


def read_course(client: redis.Redis, run: str, patience_s: float = PATIENCE_S) -> Course | None:
    """How the run was dealt and begun; None when the server knows of no such run, or what stands there does not read
    as one. Raises Unavailable."""
    key = Keys(run).orders

    def read() -> list[Entry]:
        return read_all_blocking(client, key) if client.type(key) == b"stream" else []

    entries = insist_blocking("orders", read, patience_s)
    shape, orders = shape_in(entries), orders_in(entries)
    if shape is None:
        return None
    shards, robots = shape
    course = Course(shards, (*robots, *joined_in(orders)))
    for order in orders:
        if order.order == "go" and course.go_ms is None:
            course = msgspec.structs.replace(course, go_ms=parse_id(order.entry)[0])
        elif order.order == "stop":
            course = msgspec.structs.replace(course, stop=order.text)
    return course


def changes_so_far(client: redis.Redis, run: str) -> list[Met]:
    """Every plan change that stands in the run's first outbox, whether its relay has met it or not; all outboxes get
    the same. Raises Unavailable."""
    names = Keys(run)

    def read() -> list[Entry]:
        copied = read_all_blocking(client, names.control(0))
        last = parse_id(copied[-1][0]) if copied else (0, 0)
        still_there = read_all_blocking(client, names.outbox(0))
        return copied + [entry for entry in still_there if parse_id(entry[0]) > last]

    entries = insist_blocking("plan", read, PATIENCE_S)
    return [met for met in map(_met, entries) if met is not None]


class Lookout:
    """The plan changes that the relay of one shard meets, each given once."""

    def __init__(self, client: redis.Redis, run: str, shard: int) -> None:
        self._client = client
        self._key = Keys(run).control(shard)
        self._cursor = "0"

    def read(self, wait_us: int = 0) -> list[Met]:
        """All that came since the last call; waits at most `wait_us` for more. Raises Unavailable."""
        entries: list[Entry] = []
        cursor, block = self._cursor, block_ms(wait_us)
        while True:
            try:
                page = decoded_one(self._client.xread({self._key: cursor}, count=_PAGE, block=block))
            except TROUBLE as error:
                raise Unavailable(f"plan: {error}") from error
            entries += page
            if len(page) < _PAGE:
                break
            cursor, block = page[-1][0], None
        if entries:
            self._cursor = entries[-1][0]
        return [met for met in map(_met, entries) if met is not None]


def _met(entry: Entry) -> Met | None:
    """The plan change in an entry, if there is one: births stand in the same stream."""
    name, fields = entry
    control = read_control(fields.get(keys.CONTROL))
    return Met(parse_id(name)[0], control) if isinstance(control, PlanChange) else None
