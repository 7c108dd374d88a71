"""How workers talk to each other: a bounded channel, and a watched value. Workers must never share anything else.

A channel has one reader and any number of writers. It outlives its reader: after a crash the items wait for the next
one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Generic, TypeVar

T = TypeVar("T")

CAPACITY: Final = 1024  # items; some 30 messages a tick arrive at the busiest robot, so a full channel means trouble


class Channel(Generic[T]):
    """A bounded queue. `on_drop` receives the channel's name, and how many items it has dropped so far."""

    def __init__(self, name: str, on_drop: Callable[[str, int], None], capacity: int = CAPACITY) -> None:
        self.name = name
        self.dropped = 0
        self._on_drop = on_drop
        self._items: asyncio.Queue[T] = asyncio.Queue(capacity)

    def __len__(self) -> int:
        return self._items.qsize()

    def offer(self, item: T) -> bool:
        """Put `item` in. A full channel drops it and returns False: for what the protocol repairs by itself."""
        try:
            self._items.put_nowait(item)
        except asyncio.QueueFull:
            self.dropped += 1
            self._on_drop(self.name, self.dropped)
            return False
        return True

    async def put(self, item: T) -> None:
        """Put `item` in, and wait for room while the channel is full: for what must not be dropped."""
        await self._items.put(item)

    async def get(self) -> T:
        """The oldest item; waits for one."""
        return await self._items.get()

    async def get_within(self, wait_us: int) -> T | None:
        """The oldest item, or None when none comes for `wait_us`."""
        if self._items.empty() and wait_us > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_us / 1_000_000):
                    return await self._items.get()
        return None if self._items.empty() else self._items.get_nowait()


class Watch(Generic[T]):
    """A value that one task sets and many observe. Only the latest counts, nothing queues."""

    def __init__(self, value: T) -> None:
        self.value = value
        self._waiters: list[asyncio.Future[None]] = []

    def set(self, value: T) -> None:
        """Replace the value, and wake the tasks that wait for a condition."""
        self.value = value
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, condition: Callable[[T], bool]) -> T:
        """The first value that meets `condition`; waits for it."""
        while not condition(self.value):
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        return self.value
