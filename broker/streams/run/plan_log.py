"""A run's plan on its streams: people's requests, and the plan changes that its relays have applied.

An entry of the stream of requests is a request, and its id is the request's id. A request changes nothing by itself,
and reading removes nothing. Anybody may write to a stream by hand: what is no request and no control entry is passed
over. What a request means is decided in broker/faults/scheduler.py.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

import redis
from redis.exceptions import RedisError

from broker.control_entries import AppliedChange, PlanChange, read_control
from broker.errors import RunGone, Unavailable
from broker.faults.scheduler import AnsweredRequest
from broker.ports.robot import Acknowledgement, FleetRow
from broker.ports.run import Request
from broker.relay.core import Id, parse_id
from broker.streams import keys
from broker.streams.connection import block_ms
from broker.streams.keys import Keys
from broker.streams.reading import Entry, decoded, decoded_one, read_all_blocking
from broker.streams.retry import RETRY_S, TROUBLE, retry_blocking

DEALT_MS: Final = 0  # the ids that a deal makes bear no time
_PAGE: Final = 1000  # entries of a stream in one read


def changes_so_far(client: redis.Redis, run: str) -> list[AppliedChange]:
    """Every plan change in the run's first outbox, applied by its relay or not yet; all outboxes get the same. Raises
    Unavailable."""
    names = Keys(run)

    def read() -> list[Entry]:
        copied = read_all_blocking(client, names.control(0))
        last = parse_id(copied[-1][0]) if copied else (0, 0)
        still_there = read_all_blocking(client, names.outbox(0))
        return copied + [entry for entry in still_there if parse_id(entry[0]) > last]

    entries = retry_blocking("plan", read, RETRY_S)
    return [applied for applied in map(_applied, entries) if applied is not None]


def answered_requests(applied: Iterable[AppliedChange], rows: Iterable[FleetRow]) -> list[AnsweredRequest]:
    """The requests that were answered, by plan changes or in the fleet log, in the order in which they were asked. An
    answer that stands twice is given twice."""
    answers = [
        AnsweredRequest(change.change.request_id, change.change.request, change.at_ms, change.change.refusal)
        for change in applied
        if change.change.request_id
    ]
    answers += [
        AnsweredRequest(row.request_id, row.request, parse_id(row.entry)[0], row.refusal)
        for row in rows
        if isinstance(row, Acknowledgement)
    ]
    return sorted(answers, key=lambda answer: (_place(answer.request_id), answer.at_ms))


def _place(request_id: str) -> Id:
    """Anybody may write an answer: what is no id comes first."""
    try:
        return parse_id(request_id)
    except ValueError:
        return 0, 0


class PlanWatcher:
    """The plan changes that the relay of one shard applies, each given once."""

    def __init__(self, client: redis.Redis, run: str, shard: int) -> None:
        self._client = client
        self._key = Keys(run).control(shard)
        self._cursor = "0"

    def read(self, wait_us: int = 0) -> list[AppliedChange]:
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
        return [applied for applied in map(_applied, entries) if applied is not None]


def _applied(entry: Entry) -> AppliedChange | None:
    """The plan change in an entry, if there is one: births stand in the same stream."""
    name, fields = entry
    control = read_control(fields.get(keys.CONTROL))
    return AppliedChange(parse_id(name)[0], control) if isinstance(control, PlanChange) else None


LONGEST_REQUEST: Final = 4096  # bytes, in UTF-8
_REQUEST_PAGE: Final = 64  # entries of the stream in one read


class StreamRequests:
    """The run's requests: a person adds them (`add`), and the leader reads them (`read`)."""

    def __init__(self, client: redis.Redis, run: str, retry_s: float = RETRY_S) -> None:
        self._client = client
        self._keys = Keys(run)
        self._retry_s = retry_s
        self._cursor = "0"

    def add(self, request: str) -> str:
        """Put a request there, exactly once, and give its id. Raises ValueError when it is longer than LONGEST_REQUEST,
        RunGone, Unavailable (then it may or may not stand there)."""
        content = request.encode()
        if len(content) > LONGEST_REQUEST:
            raise ValueError(f"a request is at most {LONGEST_REQUEST} bytes, this one has {len(content)}")
        since = retry_blocking("request", self._last, self._retry_s)
        fields = {keys.REQUEST: content, keys.TOKEN: secrets.token_bytes(16)}
        return retry_blocking("request", partial(self._store, fields, since), self._retry_s)

    def read(self) -> list[Request]:
        """Requests that this object has not given yet, in order, a page at most; none while the server is away."""
        try:
            entries = decoded_one(self._client.xread({self._keys.requests: self._cursor}, count=_REQUEST_PAGE))
        except RedisError:
            return []
        if entries:
            self._cursor = entries[-1][0]
        return [request for request in map(_request, entries) if request is not None]

    def _last(self) -> str:
        """The stream's last id: a request that is added now comes after that."""
        last = decoded(self._client.xrevrange(self._keys.requests, count=1))
        return last[0][0] if last else "0-0"

    def _store(self, fields: dict[bytes, bytes], since: str) -> str:
        """The id under which `fields` stand after `since`; they are put there if they do not.

        The stream is watched while it is read: an earlier attempt that the server executes only now either makes this
        one fail, or fails itself.
        """
        names = self._keys
        with self._client.pipeline() as pipe:
            pipe.watch(names.orders, names.requests)  # type: ignore[no-untyped-call]
            for entry, found in decoded(pipe.xrange(names.requests, min=f"({since}")):
                if found.get(keys.TOKEN) == fields[keys.TOKEN]:
                    return entry
            if not pipe.exists(names.orders):
                raise RunGone  # a stream made now would stay for ever
            entry_fields: dict[Any, Any] = dict(fields)
            pipe.multi()
            pipe.xadd(names.requests, entry_fields)
            [stored] = pipe.execute()
        return str(stored.decode())


def _request(entry: Entry) -> Request | None:
    """The request in an entry; None when it is none, or too long."""
    name, fields = entry
    content = fields.get(keys.REQUEST, b"")
    if not 0 < len(content) <= LONGEST_REQUEST:
        return None
    try:
        return Request(name, content.decode())
    except UnicodeDecodeError:
        return None
