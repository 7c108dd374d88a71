"""The fleet log on the run's stream of injections, failures, deaths, acknowledgements and gaps in the leadership:
evidence, never trimmed.

Only the deal creates the stream. A row whose reply was lost is stored again under the same token, and readers count a
token once.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from functools import partial
from typing import Any

import msgspec
import redis.asyncio

from broker.errors import RunGone
from broker.ports.robot import Acknowledgement, Death, DeathKind, Failure, FleetRow, Injection, LeadershipGap
from broker.streams import keys
from broker.streams.keys import Keys
from broker.streams.reading import Entry, decoded, read_all, read_all_blocking
from broker.streams.retry import RETRY_S, retry, retry_blocking
from broker.streams.run.remembered import is_forgotten


class _Injection(msgspec.Struct, frozen=True, array_like=True, tag="injection"):
    verb: str
    target: str
    victim: str
    request_id: str


class _Failure(msgspec.Struct, frozen=True, array_like=True, tag="failure"):
    verb: str
    target: str
    why: str
    request_id: str


class _Death(msgspec.Struct, frozen=True, array_like=True, tag="death"):
    victim: str
    robot: str
    incarnation: int
    how: DeathKind
    status: int


class _Acknowledgement(msgspec.Struct, frozen=True, array_like=True, tag="acknowledgement"):
    request_id: str
    request: str
    refusal: str


class _LeadershipGap(msgspec.Struct, frozen=True, array_like=True, tag="leadership_gap"):
    away_us: int


_Row = _Injection | _Failure | _Death | _Acknowledgement | _LeadershipGap
_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(_Row)


class StreamFleetLog:
    """`ports.FleetLog` on a stream."""

    def __init__(self, client: redis.Redis, run: str, retry_s: float = RETRY_S) -> None:
        self._client = client
        self._key = Keys(run).fleet
        self._retry_s = retry_s
        self._stored = ""  # the last row that was stored from here

    def injection(self, verb: str, target: str, victim: str, request_id: str = "") -> None:
        """Record a process fault that is about to be injected. Raises RunGone, Unavailable."""
        if not self._append(_Injection(verb, target, victim, request_id)):
            raise RunGone

    def failure(self, verb: str, target: str, why: str, request_id: str = "") -> None:
        """Record a process fault that was due, and was not injected. Raises RunGone, Unavailable."""
        if not self._append(_Failure(verb, target, why, request_id)):
            raise RunGone

    def death(self, victim: str, robot: str, incarnation: int, how: DeathKind, status: int) -> None:
        """Record a death; when the run is gone, nothing is stored. Raises Unavailable."""
        self._append(_Death(victim, robot, incarnation, how, status))

    def acknowledge(self, request_id: str, request: str, refusal: str) -> None:
        """Record the answer to a request; of several answers to one request, the first counts. Raises RunGone,
        Unavailable."""
        if not self._append(_Acknowledgement(request_id, request, refusal), f"request {request_id}"):
            raise RunGone

    def leadership_gap(self, away_us: int) -> None:
        """Record that until now, for so long, no supervisor led the run. Raises RunGone, Unavailable."""
        if not self._append(_LeadershipGap(away_us)):
            raise RunGone

    def rows(self) -> list[FleetRow]:
        """All rows, in order. Raises Unavailable."""
        entries = retry_blocking("fleet", lambda: read_all_blocking(self._client, self._key), self._retry_s)
        return fleet_rows(entries)

    def has_server_forgotten(self) -> bool:
        """Whether the server came back without a row that was stored from here. Raises Unavailable."""
        stored = self._stored
        return bool(stored) and retry_blocking("fleet", lambda: is_forgotten(self._client, self._key, stored), 0)

    def _append(self, row: _Row, token: str | None = None) -> bool:
        """Whether it was stored: not when the stream is gone."""
        fields: dict[Any, Any] = {keys.ROW: _encode(row), keys.TOKEN: token or secrets.token_hex(8)}
        add = partial(self._client.xadd, self._key, fields, nomkstream=True)
        entry: Any = retry_blocking("fleet", add, self._retry_s)
        self._stored = self._stored if entry is None else entry.decode()
        return entry is not None


class FleetLogWatcher:
    """The rows that come to a run's fleet log after this was made, each given once."""

    def __init__(self, client: redis.Redis, run: str) -> None:
        """Raises Unavailable."""
        self._client = client
        self._key = Keys(run).fleet
        last = retry_blocking("fleet", lambda: decoded(client.xrevrange(self._key, count=1)), RETRY_S)
        self._cursor = last[0][0] if last else "0"

    def read(self) -> list[FleetRow]:
        """The rows that came since the last call. Tried once. Raises Unavailable."""
        entries = retry_blocking("fleet", lambda: read_all_blocking(self._client, self._key, self._cursor), retry_s=0)
        if entries:
            self._cursor = entries[-1][0]
        return fleet_rows(entries)


class StreamFleetReader:
    """`ports.FleetReader` on a stream."""

    def __init__(self, client: redis.asyncio.Redis, key: str, retry_s: float = RETRY_S) -> None:
        self._client = client
        self._key = key
        self._retry_s = retry_s

    async def rows(self) -> list[FleetRow]:
        """All rows, in order. Raises Unavailable."""
        return fleet_rows(await retry("fleet", lambda: read_all(self._client, self._key), self._retry_s))


def fleet_rows(entries: Iterable[Entry]) -> list[FleetRow]:
    """The rows in a stream's entries, each once. What is none is passed over: anybody may write there."""
    rows: list[FleetRow] = []
    known: set[bytes] = set()
    for entry, fields in entries:
        token, content = fields.get(keys.TOKEN, b""), fields.get(keys.ROW)
        if content is None or token in known:
            continue
        known.add(token)
        try:
            row: _Row = _decoder.decode(content)
        except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
            continue
        rows.append(_row(entry, row))
    return rows


def _row(entry: str, row: _Row) -> FleetRow:
    match row:
        case _Injection(verb, target, victim, request_id):
            return Injection(entry, verb, target, victim, request_id)
        case _Failure(verb, target, why, request_id):
            return Failure(entry, verb, target, why, request_id)
        case _Acknowledgement(request_id, request, refusal):
            return Acknowledgement(entry, request_id, request, refusal)
        case _LeadershipGap(away_us):
            return LeadershipGap(entry, away_us)
        case _Death(victim, robot, incarnation, how, status):
            return Death(entry, victim, robot, incarnation, how, status)
