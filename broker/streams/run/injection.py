"""Injection through a run's streams: commands to RQ workers on other hosts, and faults on the server itself.

A command is a verb and a victim, such as `kill r03` or `restart rq:r03`; whether it is executed shows only by its
effect. Robots and relays must never use this room.
"""

from __future__ import annotations

from typing import Any, Final

import redis

from broker.errors import RunGone
from broker.streams import keys
from broker.streams.keys import INBOX_LIMIT, Keys
from broker.streams.reading import decoded, decoded_one
from broker.streams.retry import retry_blocking

_KEPT: Final = 64  # commands; those for earlier lives are skipped anyway
_LONGEST: Final = 64  # bytes
_PAGE: Final = 64  # entries of the stream in one read


def send_command(client: redis.Redis, run: str, robot: str, command: str) -> None:
    """Send a command to the RQ worker that runs `robot`. Tried once. Raises RunGone, and Unavailable when it may or may
    not be stored."""
    retry_blocking("command", lambda: _store(client, Keys(run), robot, command), retry_s=0)


def _store(client: redis.Redis, names: Keys, robot: str, command: str) -> None:
    fields: dict[Any, Any] = {keys.COMMAND: command.encode()}
    with client.pipeline() as pipe:
        pipe.watch(names.orders)  # type: ignore[no-untyped-call]
        if not pipe.exists(names.orders):
            raise RunGone  # a stream made now would stay for ever
        pipe.multi()
        pipe.xadd(names.commands(robot), fields, maxlen=_KEPT, approximate=True)
        pipe.execute()


class CommandStream:
    """The commands that come after the first `read`. Raises redis-py's errors; nothing is lost then."""

    def __init__(self, client: redis.Redis, run: str, robot: str) -> None:
        self._client = client
        self._key = Keys(run).commands(robot)
        self._cursor: str | None = None

    def read(self) -> list[str]:
        """The commands that came since the last call, a page at most; none at the first call. What is too long to be a
        command is passed over."""
        if self._cursor is None:
            last = decoded(self._client.xrevrange(self._key, count=1))
            self._cursor = last[0][0] if last else "0"
            return []
        entries = decoded_one(self._client.xread({self._key: self._cursor}, count=_PAGE))
        if entries:
            self._cursor = entries[-1][0]
        commands = (fields.get(keys.COMMAND, b"") for _, fields in entries)
        return [command.decode(errors="replace") for command in commands if len(command) <= _LONGEST]


class StreamInjection:
    """Faults on the streams of one run. Every method tries once, and raises Unavailable when the result is unknown."""

    def __init__(self, client: redis.Redis, run: str) -> None:
        self._client = client
        self._keys = Keys(run)

    def order_crash(self, victim: str) -> None:
        """Give the order `crash`: `r03/secret_merger`. Raises RunGone as well."""
        fields: dict[Any, Any] = {keys.ORDER: b"crash", keys.CONTENT: victim.encode()}
        orders = self._keys.orders
        added = retry_blocking("crash", lambda: self._client.xadd(orders, fields, nomkstream=True), retry_s=0)
        if added is None:
            raise RunGone

    def insert_copy(self, robot: str, frame: bytes) -> bool:
        """Put a frame into a robot's inbox, past all relays; False when there is no such inbox."""
        fields: dict[Any, Any] = {keys.ENVELOPE: frame, keys.COPY: 0}
        inbox = self._keys.inbox(robot)
        added = retry_blocking(
            "contradiction",
            lambda: self._client.xadd(inbox, fields, nomkstream=True, maxlen=INBOX_LIMIT, approximate=True),
            retry_s=0,
        )
        return added is not None

    def forget_journal(self, robot: str) -> None:
        """Delete a robot's journal, for good."""
        retry_blocking("amnesia", lambda: self._client.delete(self._keys.journal(robot)), retry_s=0)
