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
_FAREWELL: Final = b"!"
_voice: int | None = None  # a process has one pulse, as it has one process id


def beat() -> None:
    """Tell our RQ worker that we turn. Never blocks; in a process that is no horse it does nothing."""
    _say(_BEAT)


def farewell() -> None:
    """Tell our RQ worker that the job is over and its lease about to be given back, so that it is not missed."""
    _say(_FAREWELL)


def keep_beating(loop: asyncio.AbstractEventLoop) -> None:
    """Beat now, and from now on whenever the loop comes round to it."""
    beat()
    loop.call_later(BEAT_S, keep_beating, loop)


def _say(word: bytes) -> None:
    if _voice is not None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):  # nobody listens: that is not ours to judge
            os.write(_voice, word)


class Pulse:
    """A pipe that is made before a fork: the child calls `speak`, the parent `listen`."""

    def __init__(self) -> None:
        self._ear, self._mouth = os.pipe()
        os.set_blocking(self._ear, False)
        os.set_blocking(self._mouth, False)
        self._heard_at = time.monotonic()
        self._is_over = False

    def speak(self) -> None:
        """Be the side that beats."""
        global _voice
        os.close(self._ear)
        _voice = self._mouth

    def listen(self) -> None:
        """Be the side that hears. The fork counts as the first beat."""
        os.close(self._mouth)
        self._heard_at = time.monotonic()

    def heard(self) -> bool:
        """Whether there was a sign of life since the last call."""
        try:
            words = os.read(self._ear, 65536)
        except BlockingIOError:
            return False
        if words:
            self._heard_at = time.monotonic()
        self._is_over |= _FAREWELL in words
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
        os.close(self._ear)
