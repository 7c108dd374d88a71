"""What a server says of itself, and what it lets us do: read only. What that is good for is not decided here.

Whether a user may run a command is asked without running it: a server checks rights when it queues a command of a
transaction, and the transaction is discarded. This needs no right of an administrator, as `ACL DRYRUN` does, and it
also finds a server that refuses all writes for now.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import redis
from redis.exceptions import AskError, ClusterCrossSlotError, ResponseError

from broker.streams.connection import location_of

CLOCK_SAMPLES: Final = 5
STREAMS_KEY: Final = "lab:{doctor}:probe"  # nothing has this key, and nothing is written to it

_WITH_SUBCOMMANDS: Final = ("client", "script", "xgroup", "xinfo")


class Trial(NamedTuple):
    """A command, with KEY for a key's place, to be tried on a key. `is_needed`: nothing works without it."""

    command: str
    key: str
    is_needed: bool

    @property
    def rule(self) -> str:
        """The command as the rules of ACLs name it: `XINFO STREAM KEY` is `xinfo|stream`."""
        first, *rest = self.command.lower().split()
        return f"{first}|{rest[0]}" if first in _WITH_SUBCOMMANDS else first


def trials_of(key: str, needed: str, optional: str) -> tuple[Trial, ...]:
    """Commands, with `; ` between them, to be tried on one key."""
    listed = ((needed, True), (optional, False))
    return tuple(Trial(command, key, is_needed) for text, is_needed in listed for command in text.split("; "))


_NEEDED: Final = (
    "XADD KEY NOMKSTREAM * f v; XRANGE KEY - + COUNT 1; XREVRANGE KEY + - COUNT 1; XLEN KEY; XTRIM KEY MINID 0;"
    " XREAD COUNT 1 STREAMS KEY 0; XREADGROUP GROUP g c COUNT 1 STREAMS KEY >; XACK KEY g 0-1; XPENDING KEY g;"
    " XCLAIM KEY g c 0 0-1; XGROUP CREATE KEY g 0; XGROUP DELCONSUMER KEY g c; XINFO STREAM KEY; XINFO GROUPS KEY;"
    " XINFO CONSUMERS KEY g; DEL KEY; UNLINK KEY; EXISTS KEY; TYPE KEY; GET KEY; SET KEY v NX PX 1; PTTL KEY;"
    " PEXPIRE KEY 1; HSET KEY f v; HMGET KEY f; ZADD KEY NX 1 m; ZREM KEY m; ZREVRANGE KEY 0 -1; TIME; PING; CLIENT ID"
)
_DURABILITY: Final = "WAITAOF 1 0 1; WAIT 1 1"  # what tells whether the write of the secret is safe

STREAM_TRIALS: Final = trials_of(STREAMS_KEY, _NEEDED, _DURABILITY)
"""What the streams need. WATCH is tried on their key, too; MULTI and EXEC are tried by their use."""

_ELSEWHERE: Final = (AskError, ClusterCrossSlotError)  # a cluster's answer to a command that is allowed


class ServerFacts(msgspec.Struct, frozen=True):
    """`info` is its INFO. `appendfsync` is None when we may not ask, `user` when it is not known. The server's clock is
    `ahead_us` of ours, up to `uncertainty_us` more or less. `refused` has its answer to each command that it would not
    run; it is None when it does not let us ask, and `refusal` says why."""

    info: Mapping[str, Any]
    appendfsync: str | None
    user: str | None
    ahead_us: int
    uncertainty_us: int
    refused: Mapping[Trial, str] | None
    refusal: str


def inspect(client: redis.Redis, trials: Sequence[Trial]) -> ServerFacts:
    """What is known of the server, and which of the `trials` it would refuse. Raises redis-py's ConnectionError and
    TimeoutError, and ResponseError when even INFO or TIME is refused."""
    info: Mapping[str, Any] = client.info()
    ahead_us, uncertainty_us = clock_offset(client.time)
    user = _text(_allowed(client.acl_whoami)) or location_of(client).login.get("username")
    settings = _allowed(lambda: client.config_get("appendfsync"))
    appendfsync = None if settings is None else _text(settings.get("appendfsync"))
    try:
        refused: Mapping[Trial, str] | None = refusals(client, trials)
        refusal = ""
    except ResponseError as error:
        refused, refusal = None, _full_text(error)
    return ServerFacts(info, appendfsync, user, ahead_us, uncertainty_us, refused, refusal)


def clock_offset(server_time: Callable[[], Any]) -> tuple[int, int]:
    """How far the server's clock is ahead of ours, and how far off that may be, in microseconds: by the quickest of a
    few answers, which was given some time between its question and its arrival."""
    samples = []
    for _ in range(CLOCK_SAMPLES):
        began_us, began_s = time.time_ns() // 1000, time.monotonic()
        seconds, microseconds = server_time()
        round_trip_us = round((time.monotonic() - began_s) * 1_000_000)
        here_us = began_us + round_trip_us // 2
        samples.append((round_trip_us, int(seconds) * 1_000_000 + int(microseconds) - here_us))
    round_trip_us, ahead_us = min(samples)
    return ahead_us, round_trip_us // 2 + 1


def refusals(client: redis.Redis, trials: Sequence[Trial]) -> dict[Trial, str]:
    """The server's answers to the commands that it would not run. Raises ResponseError when it allows no
    transaction."""
    connection = client.connection_pool.get_connection()
    try:
        watched = [Trial("WATCH KEY", key, is_needed=True) for key in sorted({trial.key for trial in trials})]
        answers = _answers(connection, map(_words, watched))
        _ask(connection, ("UNWATCH",), ("MULTI",), ("EXEC",))
        _ask(connection, ("MULTI",))  # alone: were it refused, what follows would be run
        answers += _answers(connection, map(_words, trials))
        _ask(connection, ("DISCARD",))
    finally:
        connection.disconnect()  # type: ignore[no-untyped-call]
        client.connection_pool.release(connection)
    return {
        trial: _full_text(answer)
        for trial, answer in zip((*watched, *trials), answers, strict=True)
        if isinstance(answer, ResponseError) and not isinstance(answer, _ELSEWHERE)
    }


def _words(trial: Trial) -> list[str]:
    return trial.command.replace("KEY", trial.key).split()


def _ask(connection: redis.Connection, *commands: Sequence[str]) -> None:
    """Raises ResponseError for the first command that is refused."""
    for answer in _answers(connection, commands):
        if isinstance(answer, ResponseError):
            raise answer


def _answers(connection: redis.Connection, commands: Iterable[Sequence[str]]) -> list[Any]:
    """The replies to commands that are sent together; a refusal is one of them."""
    sent = list(commands)
    connection.send_packed_command(connection.pack_commands(sent))  # type: ignore[no-untyped-call]
    return [_answer(connection) for _ in sent]


def _answer(connection: redis.Connection) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error


def _full_text(refusal: ResponseError) -> str:
    """The server's whole answer; redis-py cuts off the code that it begins with, if it knows that."""
    return f"{refusal.status_code or ''} {refusal}".strip()


def _allowed(ask: Callable[[], Any]) -> Any:
    """The answer; None when the server refuses it."""
    try:
        return ask()
    except ResponseError:
        return None


def _text(value: bytes | str | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
