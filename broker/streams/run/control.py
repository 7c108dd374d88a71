"""Where a run is dealt, ordered about, and collected as evidence, on streams.

What a deal creates has ids of its own (`0-1`, `0-2` …), so dealing the same again finds it there and adds nothing. The
order `dealt` comes last, at `0-1` as well: nobody may take a half-dealt run for a whole one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Literal

import msgspec
import redis
from redis.exceptions import ResponseError

from broker.control_entries import Control, PlanChange, encode_control, read_control
from broker.errors import RunGone, Unavailable
from broker.ports.robot import Injection, JournalRow, Order
from broker.ports.run import BirthRow, Evidence, RegisterRow, Request, RunSpec, StreamCount
from broker.relay.core import Fate, parse_id
from broker.streams import keys
from broker.streams.keys import Keys
from broker.streams.reading import Entry, decoded, decoded_one, number_in, read_all_blocking
from broker.streams.retry import RETRY_S, retry_blocking
from broker.streams.run.evidence import _NO_STREAM, _birth, _read_fates, _read_ids
from broker.streams.run.fleet_log import fleet_rows
from broker.streams.run.plan_log import StreamRequests
from broker.streams.run.runs import _NO_SHAPE, Shape, StreamRuns, joined_in, orders_in, shape_in

_encode = msgspec.msgpack.encode


class StreamRunControl:
    """`ports.RunControl` on streams."""

    def __init__(self, client: redis.Redis, run: str, retry_s: float = RETRY_S, last_request: str = "0") -> None:
        """`last_request` is the last one that an earlier desk has seen and answered."""
        self._client = client
        self._run = run
        self._keys = Keys(run)
        self._retry_s = retry_s
        self._shape: Shape | None = None
        self._requests = StreamRequests(client, run, after=last_request)
        self._last_order = "0"

    def deal(self, run_spec: RunSpec) -> None:
        """Create everything that a run begins with. Again with the same dealing: only what is absent yet.
        Raises Unavailable, and ValueError when something else was dealt under the same run."""
        assert run_spec.run == self._run
        retry_blocking("deal", lambda: self._deal(run_spec), self._retry_s)

    def admit(self, robot: str, contents: Sequence[bytes]) -> None:
        """Let one more robot take part. Twice does no harm. Raises Unavailable."""
        retry_blocking("admission", lambda: self._admit(robot, contents), self._retry_s)

    def order(self, order: Literal["go", "crash", "stop"], content: bytes = b"") -> None:
        """Give an order to all robots; a lost reply may give it twice, which does no harm. Raises RunGone,
        Unavailable."""
        retry_blocking("order", lambda: self._give(order, content), self._retry_s)

    def orders(self) -> list[Order]:
        """Orders that this desk has not seen, in order. Asked once. Raises RunGone, Unavailable."""
        return retry_blocking("orders", self._new_orders, retry_s=0)

    def change(self, change: PlanChange, insist: bool = True) -> None:
        """Put a plan change into every outbox, for certain (twice does no harm). Without `insist` it is tried once.
        Raises Unavailable."""
        retry_s = self._retry_s if insist else 0.0
        fields: dict[Any, Any] = {keys.CONTROL: encode_control(change)}
        for outbox in map(self._keys.outbox, range(self._known_shape()[0])):
            put = partial(self._client.xadd, outbox, fields, nomkstream=True)
            if retry_blocking("plan", put, retry_s) is None:
                raise Unavailable(f"plan: {outbox} is gone")

    def requests(self) -> list[Request]:
        """Requests not seen yet, in order; none while the server is away."""
        return self._requests.read()

    def shape(self) -> Shape:
        """How many shards the run was dealt with, and which robots; none of either when it is gone. Raises
        Unavailable."""
        return retry_blocking("orders", self._known_shape, self._retry_s)

    def joined(self) -> tuple[str, ...]:
        """The robots that have joined the run since. Raises Unavailable."""
        orders = retry_blocking("orders", lambda: read_all_blocking(self._client, self._keys.orders), self._retry_s)
        return joined_in(orders_in(orders))

    def metadata(self) -> list[bytes]:
        """The papers that the run was dealt with; none when there are no such. Raises Unavailable."""
        entries = retry_blocking("papers", lambda: read_all_blocking(self._client, self._keys.metadata), self._retry_s)
        return [fields.get(keys.METADATA, b"") for _, fields in entries]

    def journal(self, robot: str) -> list[JournalRow]:
        """What stands in a robot's journal; nothing when it is lost. Raises Unavailable."""
        return retry_blocking("journal", lambda: self._journal(robot), self._retry_s) or []

    def collect(self) -> Evidence:
        """Read everything that the verdict is judged from. Raises Unavailable."""
        return retry_blocking("evidence", self._collect, self._retry_s)

    def forget(self) -> None:
        """Remove every stream of the run: for a server that others use too, once the record is made. Raises
        Unavailable."""
        retry_blocking("forgetting", self._forget, self._retry_s)

    def _forget(self) -> None:
        shards, robots = self._everybody(read_all_blocking(self._client, self._keys.orders))
        names = self._keys
        streams = [names.register, names.events, names.requests, names.fleet, names.metadata, names.supervisor]
        for robot in robots:
            streams += [names.birth(robot), names.inbox(robot), names.journal(robot), names.commands(robot)]
        for shard in range(shards):
            streams += [names.outbox(shard), names.control(shard), names.fates(shard), names.lease(shard)]
        for key in [*streams, names.orders]:  # the orders last: they tell what else there is
            self._client.unlink(key)
        StreamRuns(self._client).forget(self._run)

    def _deal(self, run_spec: RunSpec) -> None:
        self._shape = (run_spec.shards, tuple(run_spec.journals))
        dealt = {keys.ORDER: b"dealt", keys.CONTENT: run_spec.terms, keys.SHAPE: _encode(self._shape)}
        if not self._stands(self._keys.orders, [dealt]):  # their creation is the last step: then all of it was done
            self._create_all(run_spec, dealt)
        StreamRuns(self._client).add(self._run)  # after that: whoever finds a listed run without orders strikes it off

    def _create_all(self, run_spec: RunSpec, dealt: dict[bytes, bytes]) -> None:
        for key in (self._keys.register, self._keys.fleet, self._keys.events):
            self._create(key, [{keys.NONCE: b""}])
        if run_spec.metadata:
            self._create(self._keys.metadata, [{keys.METADATA: chunk} for chunk in run_spec.metadata])
        for robot, contents in run_spec.journals.items():
            self._make_room_for(robot, contents)
        for shard in range(run_spec.shards):
            self._create(self._keys.outbox(shard), [{keys.CONTROL: encode_control(run_spec.plan)}])
        self._create(self._keys.orders, [dealt])

    def _make_room_for(self, robot: str, contents: Sequence[bytes]) -> None:
        self._create(self._keys.birth(robot), [{keys.NONCE: b""}])
        self._create(self._keys.journal(robot), [{keys.ENTRY: content, keys.NONCE: b""} for content in contents])

    def _admit(self, robot: str, contents: Sequence[bytes]) -> None:
        _, robots = self._everybody(read_all_blocking(self._client, self._keys.orders))
        if robot not in robots:
            self._make_room_for(robot, contents)
            self._give("joined", robot.encode())

    def _give(self, order: str, content: bytes) -> None:
        """A run that is gone is not begun anew."""
        fields: dict[Any, Any] = {keys.ORDER: order, keys.CONTENT: content}
        if self._client.xadd(self._keys.orders, fields, nomkstream=True) is None:
            raise RunGone(self._run)

    def _new_orders(self) -> list[Order]:
        entries = decoded_one(self._client.xread({self._keys.orders: self._last_order}))
        if entries:
            self._last_order = entries[-1][0]
        elif not self._client.exists(self._keys.orders):
            raise RunGone(self._run)
        return orders_in(entries)

    def _create(self, key: str, contents: list[dict[bytes, bytes]]) -> None:
        """Make a stream of `contents`, whole or not at all, unless it stands already."""
        with self._client.pipeline(transaction=True) as pipe:
            for number, fields in enumerate(contents, start=1):
                entry: dict[Any, Any] = dict(fields)
                pipe.xadd(key, entry, id=f"0-{number}")
            try:
                pipe.execute()
            except ResponseError:
                if not self._stands(key, contents):
                    raise

    def _stands(self, key: str, contents: list[dict[bytes, bytes]]) -> bool:
        """Whether `contents` open the stream. Raises ValueError when others do."""
        found = decoded(self._client.xrange(key, count=len(contents)))
        if found and [fields for _, fields in found] != contents:
            raise ValueError(f"run {self._run} was dealt before, and differently: see {key}")
        return bool(found)

    def _collect(self) -> Evidence:
        orders = read_all_blocking(self._client, self._keys.orders)
        shards, robots = self._everybody(orders)
        fleet = fleet_rows(read_all_blocking(self._client, self._keys.fleet))
        return Evidence(
            controls={shard: self._controls(shard) for shard in range(shards)},
            fates={shard: self._fates(shard) for shard in range(shards)},
            journals={robot: self._journal(robot) for robot in robots},
            births={robot: self._births(robot) for robot in robots},
            register_exists=bool(self._client.exists(self._keys.register)),
            register=self._written(),
            outboxes={shard: self._count(self._keys.outbox(shard)) for shard in range(shards)},
            inboxes={robot: self._count(self._keys.inbox(robot)) for robot in robots},
            orders=orders_in(orders),
            fleet=fleet,
            contradictions=Counter(
                row.victim for row in fleet if isinstance(row, Injection) and row.verb == "contradict"
            ),
        )

    def _known_shape(self) -> Shape:
        self._shape = self._shape or shape_in(read_all_blocking(self._client, self._keys.orders))
        return self._shape or _NO_SHAPE

    def _everybody(self, orders: list[Entry]) -> Shape:
        """The run's shape with the robots that joined it."""
        shards, robots = self._shape or shape_in(orders) or _NO_SHAPE
        return shards, (*robots, *joined_in(orders_in(orders)))

    def _controls(self, shard: int) -> list[tuple[str, Control]]:
        entries = read_all_blocking(self._client, self._keys.control(shard))
        controls = [(entry, read_control(fields.get(keys.CONTROL))) for entry, fields in entries]
        return [(entry, control) for entry, control in controls if control is not None]

    def _fates(self, shard: int) -> list[Fate | list[str]]:
        """What is no fate is passed over: the judge finds what is missing."""
        rows: list[Fate | list[str]] = []
        for _, fields in read_all_blocking(self._client, self._keys.fates(shard)):
            with suppress(ValueError, RecursionError):  # msgspec's errors are ValueErrors
                if keys.REDO in fields:
                    rows.append(_read_ids(fields[keys.REDO]))
                else:
                    rows.extend(_read_fates(fields.get(keys.FATES, b"")))
        return rows

    def _journal(self, robot: str) -> list[JournalRow] | None:
        entries = read_all_blocking(self._client, self._keys.journal(robot))
        found = ((entry, fields.get(keys.ENTRY)) for entry, fields in entries)
        return [JournalRow(*parse_id(entry), content) for entry, content in found if content is not None] or None

    def _births(self, robot: str) -> list[BirthRow] | None:
        entries = read_all_blocking(self._client, self._keys.birth(robot))
        rows = [_birth(entry, fields) for entry, fields in entries if entry != keys.FIRST_ID]
        return [row for row in rows if row is not None] if entries else None

    def _written(self) -> RegisterRow | None:
        """What stands in the register, whoever wrote it; the judge knows who may have."""
        found = decoded(self._client.xrange(self._keys.register, min=keys.GREATEST_ID))
        if not found:
            return None
        [(_, fields)] = found
        return RegisterRow(
            robot=fields.get(keys.ROBOT, b"").decode(errors="replace"),
            incarnation=number_in(fields.get(keys.INCARNATION), 0),
            nonce=fields.get(keys.NONCE, b"").decode(errors="replace"),
            secret=fields.get(keys.SECRET, b""),
        )

    def _count(self, key: str) -> StreamCount:
        if not self._client.exists(key):
            return _NO_STREAM
        told: Mapping[str, Any] = self._client.xinfo_stream(key)
        return StreamCount(told["entries-added"], told["last-generated-id"].decode(), told["length"])
