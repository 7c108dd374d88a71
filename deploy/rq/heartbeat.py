"""The heartbeat of a horse: bytes on a pipe, written by its event loop and read by its RQ worker.

A process that exists may still be stuck or stopped: only a beat proves that its loop runs. What silence means is
decided elsewhere (deploy/rq/worker.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import Final

BEAT_S: Final = 0.4
"""How often a loop beats."""

_BEAT: Final = b"."
_DONE: Final = b"!"
_write_end: int | None = None  # a process has one heartbeat, as it has one process id


def beat() -> None:
    """Report to our RQ worker that the loop runs. Never blocks. Does nothing in a process that is no horse."""
    _write(_BEAT)


def done() -> None:
    """Report to our RQ worker that the job is over and its lease is given back now: a lost lease is no fault then."""
    _write(_DONE)


def keep_beating(loop: asyncio.AbstractEventLoop) -> None:
    """Beat now, and again every BEAT_S as long as the loop runs."""
    beat()
    loop.call_later(BEAT_S, keep_beating, loop)


def _write(byte: bytes) -> None:
    if _write_end is not None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):  # the RQ worker is gone, or slow
            os.write(_write_end, byte)


class Heartbeat:
    """A pipe that is made before a fork: the child calls `take_write_end`, the parent `take_read_end`."""

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        os.set_blocking(self._write_end, False)
        self._beat_s = time.monotonic()
        self._is_done = False

    def take_write_end(self) -> None:
        """Become the side that beats."""
        global _write_end
        os.close(self._read_end)
        _write_end = self._write_end

    def take_read_end(self) -> None:
        """Become the side that reads. The fork counts as the first beat."""
        os.close(self._write_end)
        self._beat_s = time.monotonic()

    def read(self) -> bool:
        """Whether there was a beat since the last call."""
        try:
            beats = os.read(self._read_end, 65536)
        except BlockingIOError:
            return False
        if beats:
            self._beat_s = time.monotonic()
        self._is_done |= _DONE in beats
        return bool(beats)

    def is_done(self) -> bool:
        """Whether the horse has reported that its job is over."""
        self.read()
        return self._is_done

    def silence_s(self) -> float:
        """Seconds since the last beat that was read."""
        return time.monotonic() - self._beat_s

    def close(self) -> None:
        """Close the read end."""
        os.close(self._read_end)
