"""What a run's streams hold: its shape, metadata and journals, and all the evidence of it. Reads only.

Anybody may write to a stream by hand: what does not read as one of ours is passed over, and the judge finds what is
missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec
import redis

from broker.control_entries import Control, read_control
from broker.ports.robot import Injection, JournalRow
from broker.ports.run import BirthRow, Evidence, RegisterRow, StoredFates, StreamCount
from broker.relay.core import Fate
from broker.streams import keys
from broker.streams.keys import Keys
from broker.streams.reading import (
    OF_BIRTHS,
    Entry,
    decoded,
    journal_rows,
    number_in,
    own,
    read_all_blocking,
)
from broker.streams.retry import RETRY_S, retry_blocking
from broker.streams.run.fleet_log import fleet_rows
from broker.streams.run.runs import NO_SHAPE, Shape, everybody_in, orders_in, shape_in

_NO_STREAM: Final = StreamCount(0, "0-0", 0)
_read_fates = msgspec.msgpack.Decoder(tuple[Fate, ...]).decode
_read_ids = msgspec.msgpack.Decoder(tuple[str, ...]).decode


class StreamEvidenceReader:
    """`ports.EvidenceReader` on streams."""

    def __init__(self, client: redis.Redis, run: str, retry_s: float = RETRY_S) -> None:
        self._client = client
        self._keys = Keys(run)
        self._retry_s = retry_s

    def shape(self) -> Shape:
        """How many shards the run was dealt with, and which robots; none of either when it is gone. Raises
        Unavailable."""
        return shape_in(self._orders()) or NO_SHAPE

    def robots(self) -> tuple[str, ...]:
        """The robots of the run, those that joined included. Raises Unavailable."""
        return everybody_in(self._orders())[1]

    def _orders(self) -> list[Entry]:
        return retry_blocking("orders", lambda: read_all_blocking(self._client, self._keys.orders), self._retry_s)

    def metadata(self) -> list[bytes]:
        """The metadata that the run was dealt with; empty when it has none. Raises Unavailable."""
        metadata = self._keys.metadata
        entries = retry_blocking("metadata", lambda: read_all_blocking(self._client, metadata), self._retry_s)
        return [fields.get(keys.METADATA, b"") for _, fields in entries]

    def first_metadata(self) -> bytes:
        """The first piece of it; empty when there is none. Raises Unavailable."""
        first = retry_blocking("metadata", lambda: self._first(self._keys.metadata), self._retry_s)
        return first[0][1].get(keys.METADATA, b"") if first else b""

    def _first(self, key: str) -> list[Entry]:
        return decoded(self._client.xrange(key, count=1)) if self._client.type(key) == b"stream" else []

    def journal(self, robot: str) -> list[JournalRow]:
        """What stands in a robot's journal; nothing when it is lost. Raises Unavailable."""
        return retry_blocking("journal", lambda: self._journal(robot), self._retry_s) or []

    def collect(self) -> Evidence:
        """Read everything that the verdict is judged from. Raises Unavailable."""
        return retry_blocking("evidence", self._collect, self._retry_s)

    def _collect(self) -> Evidence:
        orders = read_all_blocking(self._client, self._keys.orders)
        shards, robots = everybody_in(orders)
        fleet = fleet_rows(read_all_blocking(self._client, self._keys.fleet))
        return Evidence(
            controls={shard: self._controls(shard) for shard in range(shards)},
            fates={shard: self._fates(shard) for shard in range(shards)},
            journals={robot: self._journal(robot) for robot in robots},
            births={robot: self._births(robot) for robot in robots},
            register_exists=bool(self._client.exists(self._keys.register)),
            writes=self._writes(),
            outboxes={shard: self._count(self._keys.outbox(shard)) for shard in range(shards)},
            inboxes={robot: self._count(self._keys.inbox(robot)) for robot in robots},
            orders=orders_in(orders),
            fleet=fleet,
            contradictions=Counter(
                row.victim for row in fleet if isinstance(row, Injection) and row.verb == "contradict"
            ),
        )

    def _controls(self, shard: int) -> list[tuple[str, Control]]:
        return controls_in(read_all_blocking(self._client, self._keys.control(shard)))

    def _fates(self, shard: int) -> list[StoredFates]:
        return fates_in(read_all_blocking(self._client, self._keys.fates(shard)))

    def _journal(self, robot: str) -> list[JournalRow] | None:
        return journal_rows(read_all_blocking(self._client, self._keys.journal(robot))) or None

    def _births(self, robot: str) -> list[BirthRow] | None:
        entries = read_all_blocking(self._client, self._keys.birth(robot))
        rows = [_birth(entry, fields) for entry, fields in own(entries, OF_BIRTHS) if entry != keys.FIRST_ID]
        return [row for row in rows if row is not None] if entries else None

    def _writes(self) -> list[RegisterRow]:
        """What stands in the register after the dealer's entry, written by any client; the judge knows which may
        have."""
        entries = read_all_blocking(self._client, self._keys.register)
        return [_write(entry, fields) for entry, fields in entries if entry != keys.FIRST_ID]

    def _count(self, key: str) -> StreamCount:
        if not self._client.exists(key):
            return _NO_STREAM
        counters: Mapping[str, Any] = self._client.xinfo_stream(key)
        return StreamCount(counters["entries-added"], counters["last-generated-id"].decode(), counters["length"])


def controls_in(entries: Iterable[Entry]) -> list[tuple[str, Control]]:
    """The control entries in entries of a control stream."""
    controls = [(entry, read_control(fields.get(keys.CONTROL))) for entry, fields in entries]
    return [(entry, control) for entry, control in controls if control is not None]


def fates_in(entries: Iterable[Entry]) -> list[StoredFates]:
    """What relays recorded in entries of a fates stream."""
    rows = []
    for entry, fields in entries:
        with suppress(ValueError, RecursionError):  # msgspec's errors are ValueErrors
            if keys.REDO in fields:
                rows.append(StoredFates(entry, redo=_read_ids(fields[keys.REDO])))
            else:
                rows.append(StoredFates(entry, _read_fates(fields.get(keys.FATES, b""))))
    return rows


def _write(entry: str, fields: dict[bytes, bytes]) -> RegisterRow:
    return RegisterRow(
        entry=entry,
        robot=fields.get(keys.ROBOT, b"").decode(errors="replace"),
        incarnation=number_in(fields.get(keys.INCARNATION), 0),
        nonce=fields.get(keys.NONCE, b"").decode(errors="replace"),
        secret=fields.get(keys.SECRET, b""),
    )


def _birth(entry: str, fields: dict[bytes, bytes]) -> BirthRow | None:
    """The row in an entry of a birth stream; None when it is none of ours."""
    try:
        nonce, at_us = fields[keys.NONCE].decode(), int(fields.get(keys.AT_US, b"-1"))
    except (KeyError, ValueError):
        return None
    if keys.AT_US in fields:
        return BirthRow(entry, "attempt", nonce, at_us)
    return BirthRow(entry, "born", nonce, None)
