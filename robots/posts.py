"""A place in a simulated fleet that one process after the other fills: how it is filled, stopped and emptied.

Nothing here knows what the processes do, nor who fills the place again: robots/simulated_fleet.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import msgspec

from broker.ports.robot import Ending
from robots.virtual_time import Process


class Ended(msgspec.Struct, frozen=True):
    """How a process died, as the fleet log tells it (broker/ports/robot.py); `victim` is the name that it bears
    there.
    """

    victim: str
    how: Ending
    status: int
    incarnation: int = 0

    @property
    def is_in_order(self) -> bool:
        """Whether it ended itself, as it was told to."""
        return (self.how, self.status) == ("exit", 0)


class Post:
    """The place, and the process that fills it now, if there is one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.process: Process | None = None
        self.is_paused = False
        self._ended: asyncio.Future[Ended | None] | None = None

    @property
    def is_filled(self) -> bool:
        """Whether a process lives here; a paused one does."""
        return self.process is not None

    async def fill(self, main: Coroutine[Any, Any, Ended | None]) -> Ended | None:
        """Let a new process run `main`; what that returned, or how the process was ended."""
        self.process = Process()
        self._ended = asyncio.get_running_loop().create_future()
        self.process.start(main).add_done_callback(self._on_done)
        return await self._ended

    def end(self, ended: Ended) -> bool:
        """Kill the process: it does nothing any more. False when none is there."""
        if self.process is None or self._ended is None:
            return False
        self.process.kill()
        self._empty()
        self._ended.set_result(ended)
        return True

    def pause(self) -> bool:
        """Let the process stand still. False when none is there, or it does already."""
        if self.process is None or self.is_paused:
            return False
        self.process.stop()
        self.is_paused = True
        return True

    def resume(self) -> bool:
        """Let the process go on. False when none is paused here."""
        if self.process is None or not self.is_paused:
            return False
        self.is_paused = False
        self.process.resume()
        return True

    def _empty(self) -> None:
        self.process = None
        self.is_paused = False

    def _on_done(self, task: asyncio.Task[Ended | None]) -> None:
        if self._ended is None or self._ended.done() or task.cancelled():
            return  # it was killed before, or the simulation is over
        self._empty()
        error = task.exception()
        if error is not None:
            self._ended.set_exception(error)
        else:
            self._ended.set_result(task.result())
