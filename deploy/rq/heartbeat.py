"""The pulse of a horse: bytes on a pipe, written by its event loop and by nothing else, heard by its RQ worker.

A process that exists proves little: its loop may be stuck or stopped. Who hears the pulse knows that the loop turns.
What silence means is decided elsewhere (deploy/rq/worker.py).
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
_write_end: int | None = None  # a process has one pulse, as it has one process id


def beat() -> None:
    """Tell our RQ worker that we turn. Never blocks; in a process that is no horse it does nothing."""
    _say(_BEAT)


def done() -> None:
    """Tell our RQ worker that the job is over and its lease about to be given back, so that it is not missed."""
    _say(_DONE)


def keep_beating(loop: asyncio.AbstractEventLoop) -> None:
    """Beat now, and from now on whenever the loop comes round to it."""
    beat()
    loop.call_later(BEAT_S, keep_beating, loop)


def _say(word: bytes) -> None:
    if _write_end is not None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):  # nobody listens: that is not ours to judge
            os.write(_write_end, word)


class Heartbeat:
    """A pipe that is made before a fork: the child calls `speak`, the parent `listen`."""

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        os.set_blocking(self._write_end, False)
        self._heard_at = time.monotonic()
        self._is_over = False

    def speak(self) -> None:
        """Be the side that beats."""
        global _write_end
        os.close(self._read_end)
        _write_end = self._write_end

    def listen(self) -> None:
        """Be the side that hears. The fork counts as the first beat."""
        os.close(self._write_end)
        self._heard_at = time.monotonic()

    def heard(self) -> bool:
        """Whether there was a sign of life since the last call."""
        try:
            words = os.read(self._read_end, 65536)
        except BlockingIOError:
            return False
        if words:
            self._heard_at = time.monotonic()
        self._is_over |= _DONE in words
        return bool(words)

    def is_over(self) -> bool:
        """Whether the horse has said farewell."""
        self.heard()
        return self._is_over

    def silence_s(self) -> float:
        """Seconds since a beat was last heard."""
        return time.monotonic() - self._heard_at

    def close(self) -> None:
        """Listen no more."""
        os.close(self._read_end)
