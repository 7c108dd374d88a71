"""How long a port insists when the server is away, and what it does meanwhile: look again, then decide.

An attempt given to `insist` must begin by reading what is stored, and must write only what is absent. Then it may be
made again after any trouble, and a lost reply is nothing special.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError, WatchError
from redis.exceptions import TimeoutError as RedisTimeoutError

from broker.ports import Unavailable

PATIENCE_S: Final = 5.0
_FIRST_PAUSE_S: Final = 0.01
_LONGEST_PAUSE_S: Final = 0.5

OUTAGE: Final = (RedisConnectionError, RedisTimeoutError)
"""The reply is lost: it is not known whether the command took effect."""

TROUBLE: Final = (*OUTAGE, ResponseError, WatchError)
"""The above, or the server refused (out of memory, still loading, an id too low, a watched stream changed)."""

Result = TypeVar("Result")


async def insist(what: str, attempt: Callable[[], Awaitable[Result]], patience_s: float = PATIENCE_S) -> Result:
    """The result of the first attempt without trouble. Raises Unavailable when `patience_s` are over, and whatever
    else an attempt raises at once."""
    deadline, pause = time.monotonic() + patience_s, 0.0
    while True:
        try:
            return await attempt()
        except TROUBLE as error:
            if time.monotonic() + pause > deadline:
                raise Unavailable(f"{what}: {error}") from error
        await asyncio.sleep(pause)
        pause = _longer(pause)


def insist_blocking(what: str, attempt: Callable[[], Result], patience_s: float = PATIENCE_S) -> Result:
    """`insist` for a process without an event loop."""
    deadline, pause = time.monotonic() + patience_s, 0.0
    while True:
        try:
            return attempt()
        except TROUBLE as error:
            if time.monotonic() + pause > deadline:
                raise Unavailable(f"{what}: {error}") from error
        time.sleep(pause)
        pause = _longer(pause)


def _longer(pause: float) -> float:
    return min(max(_FIRST_PAUSE_S, 2 * pause), _LONGEST_PAUSE_S)
