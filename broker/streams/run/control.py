"""Where a run is dealt, gets orders and plan changes, and is removed, on streams. What it holds is read elsewhere
(broker/streams/run/evidence.py).

What a deal creates has ids of its own (`0-1`, `0-2` …), so the same deal again finds it there and adds nothing. The
order `dealt` comes last, at `0-1` as well: a half-dealt run has no orders.

The deal, and an admission, make every stream that is ever written; all other writers find it there, or write nothing.
A removal first renames the orders. From that moment nothing can be made that it does not find: what lies in the slot
of the orders is made only while they stand; a robot announces in them that it is about to join, before its streams are
made; and who made something looks again, and removes it if the orders are gone by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import msgspec
import redis
from redis.exceptions import ResponseError

from broker.control_entries import PlanChange, encode_control
from broker.errors import RunGone, Unavailable
from broker.ports.robot import Order
from broker.ports.run import Request, RunSpec
from broker.streams import keys
from broker.streams.keys import Keys
from broker.streams.reading import decoded, decoded_one, read_all_blocking
from broker.streams.retry import RETRY_S, retry_blocking
from broker.streams.run.plan_log import StreamRequests
from broker.streams.run.remembered import is_forgotten
from broker.streams.run.runs import JOINING, NO_SHAPE, Shape, StreamRuns, ever_in, everybody_in, orders_in

_encode = msgspec.msgpack.encode
_MOMENTARY = "momentary"  # a group that exists within one transaction


class StreamRunControl:
    """`ports.RunControl` on streams."""

    def __init__(self, client: redis.Redis, run: str, retry_s: float = RETRY_S) -> None:
        self._client = client
        self._run = run
        self._keys = Keys(run)
        self._retry_s = retry_s
        self._shards = 0  # not known yet
        self._dealt: Shape = NO_SHAPE  # by this object
        self._requests = StreamRequests(client, run)
        self._last_order = "0"
        self._changes: dict[str, str] = {}  # the last plan change that was given here, by outbox

    def deal(self, run_spec: RunSpec) -> None:
        """Create everything that a run begins with. Again with the same spec: only what is absent yet.
        Raises Unavailable, and ValueError when something else was dealt under the same run."""
        assert run_spec.run == self._run
        retry_blocking("deal", lambda: self._deal(run_spec), self._retry_s)

    def admit(self, robot: str, contents: Sequence[bytes]) -> None:
        """Let one more robot take part. Twice does no harm. Raises RunGone, Unavailable."""
        retry_blocking("admission", lambda: self._admit(robot, contents), self._retry_s)

    def order(self, order: Literal["begin", "go", "crash", "stop"], content: bytes = b"") -> None:
        """Give an order to all robots; a lost reply may give it twice, which does no harm. Raises RunGone,
        Unavailable."""
        retry_blocking("order", lambda: self._give(order, content), self._retry_s)

    def orders(self) -> list[Order]:
        """Orders that this object has not given yet, in order. Tried once. Raises RunGone, Unavailable."""
        return retry_blocking("orders", self._new_orders, retry_s=0)

    def change(self, change: PlanChange, is_retried: bool = True) -> None:
        """Put a plan change into every outbox, for certain (twice does no harm). Tried once if not
        `is_retried`. Raises Unavailable."""
        retry_s = self._retry_s if is_retried else 0.0
        fields: dict[Any, Any] = {keys.CONTROL: encode_control(change)}
        for outbox in map(self._keys.outbox, range(self._known_shards())):
            put = partial(self._client.xadd, outbox, fields, nomkstream=True)
            entry: Any = retry_blocking("plan", put, retry_s)
            if entry is None:
                raise Unavailable(f"plan: {outbox} is gone")
            self._changes[outbox] = entry.decode()

    def has_server_forgotten(self) -> bool:
        """Whether the server came back without an order that was read here, or a plan change that was given here.
        Raises Unavailable."""
        known = dict(self._changes)
        if self._last_order != "0":
            known[self._keys.orders] = self._last_order
        return any(
            retry_blocking("orders", partial(is_forgotten, self._client, key, entry), retry_s=0)
            for key, entry in known.items()
        )

    def requests(self) -> list[Request]:
        """Requests that this object has not given yet, in order; none while the server is away."""
        return self._requests.read()

    def begin_removal(self) -> tuple[str, ...]:
        """Take the run's orders away: from here on no process can make anything of it that `forget` does not find. The
        robots that it had, or was about to have. Again: the same. Raises Unavailable."""
        return retry_blocking("removal", self._begin_removal, self._retry_s)[1]

    def forget(self) -> None:
        """Remove every stream of the run, dealt whole or half: for a server that others use too, once the record is
        made. Again after a removal that was cut short: what is left. Raises Unavailable."""
        retry_blocking("forgetting", self._forget, self._retry_s)

    def _begin_removal(self) -> Shape:
        try:
            self._client.rename(self._keys.orders, self._keys.removed)
        except ResponseError as error:
            if str(error) != "no such key":  # removed before, or never dealt to the end
                raise
        shards, robots = ever_in(read_all_blocking(self._client, self._keys.removed))
        return max(shards, self._dealt[0]), tuple(dict.fromkeys((*robots, *self._dealt[1])))

    def _forget(self) -> None:
        shards, robots = self._begin_removal()
        names = self._keys
        for robot in robots:
            self._client.unlink(names.journal(robot), names.inbox(robot))  # at once: the inbox is made by the journal
            self._client.unlink(names.birth(robot), names.commands(robot))
        for shard in range(shards):
            self._client.unlink(names.outbox(shard), names.control(shard), names.fates(shard), names.lease(shard))
        self._client.unlink(*names.of_run)
        self._client.unlink(names.removed)  # the last: it tells what else there is
        StreamRuns(self._client).forget(self._run)

    def _deal(self, run_spec: RunSpec) -> None:
        self._shards = run_spec.shards
        self._dealt = shape = (run_spec.shards, tuple(run_spec.journals))
        dealt = {keys.ORDER: b"dealt", keys.CONTENT: run_spec.terms, keys.SHAPE: _encode(shape)}
        if not self._stands(self._keys.orders, [dealt]):  # their creation is the last step: then all of it was done
            self._create_all(run_spec, dealt)
        StreamRuns(self._client).add(self._run)  # last: a listed run without orders is taken off the list

    def _create_all(self, run_spec: RunSpec, dealt: dict[bytes, bytes]) -> None:
        for key in (self._keys.register, self._keys.fleet, self._keys.events):
            self._create(key, [{keys.NONCE: b""}])
        if run_spec.metadata:
            self._create(self._keys.metadata, [{keys.METADATA: chunk} for chunk in run_spec.metadata])
        for robot, contents in run_spec.journals.items():
            self._make_room_for(robot, contents)
        for shard in range(run_spec.shards):
            self._create_empty(self._keys.control(shard))
            self._create_empty(self._keys.fates(shard))
            self._create(self._keys.outbox(shard), [{keys.CONTROL: encode_control(run_spec.plan)}])
        self._create(self._keys.orders, [dealt])

    def _make_room_for(self, robot: str, contents: Sequence[bytes]) -> None:
        self._create_empty(self._keys.inbox(robot))
        self._create(self._keys.birth(robot), [{keys.NONCE: b""}])
        self._create(self._keys.journal(robot), [{keys.ENTRY: content, keys.NONCE: b""} for content in contents])

    def _admit(self, robot: str, contents: Sequence[bytes]) -> None:
        _, robots = everybody_in(read_all_blocking(self._client, self._keys.orders))
        if robot not in robots:
            try:
                self._give(JOINING.decode(), robot.encode())
                self._make_room_for(robot, contents)
                self._give("joined", robot.encode())
            except RunGone:  # its removal may have been over when the streams were made
                self._unmake_room_for(robot)
                raise

    def _unmake_room_for(self, robot: str) -> None:
        self._client.unlink(self._keys.journal(robot), self._keys.inbox(robot))
        self._client.unlink(self._keys.birth(robot))

    def _give(self, order: str, content: bytes) -> None:
        """The orders are made by the deal alone: a run that is gone stays so."""
        fields: dict[Any, Any] = {keys.ORDER: order, keys.CONTENT: content}
        if self._client.xadd(self._keys.orders, fields, nomkstream=True) is None:
            raise RunGone(self._run)

    def _new_orders(self) -> list[Order]:
        with self._client.pipeline(transaction=False) as pipe:
            pipe.xread({self._keys.orders: self._last_order})
            pipe.exists(self._keys.orders)
            page, is_there = pipe.execute()
        entries = decoded_one(page)
        if entries:
            self._last_order = entries[-1][0]
        elif not is_there:
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

    def _create_empty(self, key: str) -> None:
        """Make a stream without entries, unless it stands already."""
        with self._client.pipeline(transaction=True) as pipe:
            pipe.xgroup_create(key, _MOMENTARY, id="0", mkstream=True)
            pipe.xgroup_destroy(key, _MOMENTARY)
            pipe.execute(raise_on_error=True)

    def _stands(self, key: str, contents: list[dict[bytes, bytes]]) -> bool:
        """Whether `contents` open the stream. Raises ValueError when others do."""
        found = decoded(self._client.xrange(key, count=len(contents)))
        if found and [fields for _, fields in found] != contents:
            raise ValueError(f"run {self._run} was dealt before, and differently: see {key}")
        return bool(found)

    def _known_shards(self) -> int:
        self._shards = self._shards or everybody_in(read_all_blocking(self._client, self._keys.orders))[0]
        return self._shards
