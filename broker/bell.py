"""How coroutines wait for something to arrive in memory. It knows nothing of what arrives."""

from __future__ import annotations

import asyncio


class Bell:
    """Lets coroutines sleep until something arrives, or until they have waited long enough."""

    def __init__(self) -> None:
        self._sleepers: list[asyncio.Future[None]] = []

    def ring(self) -> None:
        """Wake all who sleep."""
        sleepers, self._sleepers = self._sleepers, []
        for sleeper in sleepers:
            _wake(sleeper)

    async def sleep(self, wait_us: int | None) -> None:
        """Until the bell rings, at most `wait_us` (None: for ever)."""
        loop = asyncio.get_running_loop()
        sleeper: asyncio.Future[None] = loop.create_future()
        self._sleepers.append(sleeper)
        alarm = None if wait_us is None else loop.call_later(wait_us / 1_000_000, _wake, sleeper)
        try:
            await sleeper
        finally:
            if alarm is not None:
                alarm.cancel()
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)
