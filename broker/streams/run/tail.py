"""What comes to the streams of a run that goes on, for a process that only observes: plain reads with own cursors.

Nothing is changed or acknowledged on the server, so that no number of observers disturbs a run. What an observer makes
of it is decided elsewhere.
"""

from __future__ import annotations

from typing import Final

import msgspec
import redis

from broker.control_entries import Control
from broker.ports.robot import FleetRow, Order
from broker.ports.run import StoredFates
from broker.streams import keys
from broker.streams.keys import Keys
from broker.streams.reading import Entry, decoded_one
from broker.streams.retry import retry_blocking
from broker.streams.run.evidence import controls_in, fates_in
from broker.streams.run.fleet_log import fleet_rows
from broker.streams.run.runs import orders_in

_PAGE: Final = 256  # entries of one stream in one read


class News(msgspec.Struct, frozen=True):
    """What came to a run's streams. `has_more`: at once, there is more to read. `is_gone`: the server holds no such run
    (any more)."""

    events: list[bytes]  # batches (telemetry/stream/feed.py)
    fates: list[tuple[int, StoredFates]]  # with their shards
    controls: list[tuple[int, str, Control]]  # shard, id, and what was asked of its relay
    fleet: list[FleetRow]
    orders: list[Order]
    has_more: bool
    is_gone: bool


class RunTail:
    """The tail of a run with so many shards, from the oldest entries on that its server still holds."""

    def __init__(self, client: redis.Redis, run: str, shards: int) -> None:
        names = Keys(run)
        self._client = client
        self._events, self._fleet, self._orders = names.events, names.fleet, names.orders
        self._fates = [names.fates(shard) for shard in range(shards)]
        self._controls = [names.control(shard) for shard in range(shards)]
        # In the order in which they are read: what a fate, an event or a death is about stands in a control stream
        # before it, and a later read finds it there.
        self._keys = [self._orders, self._events, *self._fates, self._fleet, *self._controls]
        self._cursors = dict.fromkeys(self._keys, "0")

    def read(self, retry_s: float = 0.0) -> News:
        """What came since the last call, a page of each stream at most. Raises Unavailable."""
        pages, is_there = retry_blocking("tail", self._pages, retry_s)
        for key, entries in pages.items():
            if entries:
                self._cursors[key] = entries[-1][0]
        return News(
            events=[fields[keys.EVENTS] for _, fields in pages[self._events] if keys.EVENTS in fields],
            fates=[(shard, stored) for shard, key in enumerate(self._fates) for stored in fates_in(pages[key])],
            controls=[
                (shard, entry, control)
                for shard, key in enumerate(self._controls)
                for entry, control in controls_in(pages[key])
            ],
            fleet=fleet_rows(pages[self._fleet]),
            orders=orders_in(pages[self._orders]),
            has_more=any(len(entries) == _PAGE for entries in pages.values()),
            is_gone=not is_there,
        )

    def _pages(self) -> tuple[dict[str, list[Entry]], bool]:
        with self._client.pipeline(transaction=False) as pipe:
            for key in self._keys:
                pipe.xread({key: self._cursors[key]}, count=_PAGE)
            pipe.exists(self._orders)
            *replies, is_there = pipe.execute()
        return dict(zip(self._keys, map(decoded_one, replies), strict=True)), bool(is_there)
