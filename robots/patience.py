"""What a worker does while the server is away: the same again, until there is an answer. An outage is no crash."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from broker.errors import Unavailable

T = TypeVar("T")

PAUSE_S: Final = 0.1  # between tries; the ports themselves have insisted before they gave up


async def until_answered(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer to `ask`, which may safely be asked again (see broker/ports/robot.py)."""
    while True:
        try:
            return await ask()
        except Unavailable:
            await asyncio.sleep(PAUSE_S)
