"""The only ways in which workers talk: a bounded mailbox, and a watched value. One reader each, any number of writers.

A channel outlives its reader: when the reader crashes, what is in the channel waits for its successor.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

CAPACITY: Final = 1024  # items; some 30 messages a tick arrive at the busiest robot, so a full channel means trouble


class Channel(Generic[T]):
    """A bounded mailbox. `on_drop` is told how many items this channel has dropped so far."""

    def __init__(self, name: str, on_drop: Callable[[str, int], None], capacity: int = CAPACITY) -> None:
        self.name = name
        self.dropped = 0
        self._capacity = capacity
        self._on_drop = on_drop
        self._items: deque[T] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._writers: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def offer(self, item: T) -> bool:
        """Put `item` in; a full channel drops it and says False. For what the protocol repairs by itself."""
        if len(self._items) >= self._capacity:
            self.dropped += 1
            self._on_drop(self.name, self.dropped)
            return False
        self._items.append(item)
        _wake(self._reader)
        return True

    async def put(self, item: T) -> None:
        """Put `item` in, and wait for room while the channel is full. For what must not be dropped."""
        while len(self._items) >= self._capacity:
            writer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._writers.append(writer)
            try:
                await writer
            except asyncio.CancelledError:
                self._call_writer()  # the room that it was called for is another's now
                raise
        self._items.append(item)
        _wake(self._reader)

    async def get(self) -> T:
        """The oldest item; waits for one."""
        while not self._items:
            await self._arrival(None)
        return self._take()

    async def get_within(self, wait_us: int) -> T | None:
        """The oldest item, or None when there is none for `wait_us`."""
        if not self._items and wait_us > 0:
            await self._arrival(wait_us)
        return self._take() if self._items else None

    def _take(self) -> T:
        item = self._items.popleft()
        self._call_writer()
        return item

    def _call_writer(self) -> None:
        """Wake the first writer that still waits."""
        while self._writers:
            writer = self._writers.popleft()
            if not writer.done():
                writer.set_result(None)
                return

    async def _arrival(self, wait_us: int | None) -> None:
        loop = asyncio.get_running_loop()
        self._reader = loop.create_future()
        alarm = None if wait_us is None else loop.call_later(wait_us / 1_000_000, _wake, self._reader)
        try:
            await self._reader
        finally:
            self._reader = None
            if alarm is not None:
                alarm.cancel()


class Watch(Generic[T]):
    """A value that many may look at and one sets: the latest wins, nothing queues."""

    def __init__(self, value: T) -> None:
        self.value = value
        self._sleepers: list[asyncio.Future[None]] = []

    def set(self, value: T) -> None:
        """Show `value` from now on."""
        self.value = value
        sleepers, self._sleepers = self._sleepers, []
        for sleeper in sleepers:
            _wake(sleeper)

    async def until(self, condition: Callable[[T], bool]) -> T:
        """The first value that meets `condition`."""
        while not condition(self.value):
            sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._sleepers.append(sleeper)
            await sleeper
        return self.value


def _wake(sleeper: asyncio.Future[None] | None) -> None:
    if sleeper is not None and not sleeper.done():
        sleeper.set_result(None)
