"""Retries while the server is away: look first, then write.

An attempt given to `retry` must begin by reading what is stored, and write only what is absent. So it can be repeated
after any error, and a lost reply needs no case of its own.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, TypeVar

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, RedisError, ResponseError, WatchError
from redis.exceptions import TimeoutError as RedisTimeoutError

from broker.errors import Unavailable

RETRY_S: Final = 5.0
_FIRST_PAUSE_S: Final = 0.01
_LONGEST_PAUSE_S: Final = 0.5

OUTAGE: Final = (RedisConnectionError, RedisTimeoutError)
"""The reply is lost: it is not known whether the command took effect."""

TROUBLE: Final = (*OUTAGE, ResponseError, WatchError)
"""The above, or the server refused (out of memory, still loading, an id too low, a watched stream changed)."""

_TRANSIENT: Final = {
    *("ASK", "BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "MOVED"),
    *("NOREPLICAS", "OOM", "READONLY", "TRYAGAIN", "UNBLOCKED"),
}

_OF_COMMAND: Final = re.compile(r"permissions to run the '([^']+)' command")

Result = TypeVar("Result")


async def retry(what: str, attempt: Callable[[], Awaitable[Result]], retry_s: float = RETRY_S) -> Result:
    """The result of the first attempt without an error of TROUBLE. Raises Unavailable when `retry_s` are over, and any
    other error of an attempt at once."""
    deadline, pause = time.monotonic() + retry_s, 0.0
    while True:
        try:
            return await attempt()
        except TROUBLE as error:
            if time.monotonic() + pause > deadline:
                raise Unavailable(f"{what}: {error}") from error
        await asyncio.sleep(pause)
        pause = _longer(pause)


def retry_blocking(what: str, attempt: Callable[[], Result], retry_s: float = RETRY_S) -> Result:
    """`retry` for a process without an event loop."""
    deadline, pause = time.monotonic() + retry_s, 0.0
    while True:
        try:
            return attempt()
        except TROUBLE as error:
            if time.monotonic() + pause > deadline:
                raise Unavailable(f"{what}: {error}") from error
        time.sleep(pause)
        pause = _longer(pause)


def is_transient(error: RedisError) -> bool:
    """Whether a later try may succeed: an outage, or a refusal because of a state that the server may leave again (no
    memory left, a script that runs too long, a replica for now, a slot that moved …), and not because of the command
    itself."""
    refusal = str(error).rpartition("caused error: ")[2]  # in a pipeline redis-py's own words come first
    return isinstance(error, OUTAGE) or (error.status_code or refusal.partition(" ")[0]) in _TRANSIENT


def lacking_right(error: Unavailable) -> str | None:
    """The right that the user lacks, if that is why a server was of no use: `scan (ACL: +scan)`, or the server's own
    words where it names no command. None for any other cause. No later try succeeds without that right."""
    cause = error.__cause__
    if not isinstance(cause, NoPermissionError):
        return None
    named = _OF_COMMAND.search(str(cause))
    return str(cause) if named is None else f"{named[1]} (ACL: +{named[1]})"


class suppress_transient:  # noqa: N801  (like contextlib.suppress)
    """A block that ends silently at a transient error."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _at: TracebackType | None
    ) -> bool:
        return isinstance(error, TROUBLE) and is_transient(error)


def _longer(pause: float) -> float:
    return min(max(_FIRST_PAUSE_S, 2 * pause), _LONGEST_PAUSE_S)
