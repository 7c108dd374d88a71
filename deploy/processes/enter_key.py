"""The key Enter at the terminal of a command, as a question that never waits.

The command has no threads and no event loop. It must never read from a terminal that another program uses, and never
from a pipe or a file.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_MOST: Final = 4096  # bytes of one line of a terminal


class EnterKey:
    """Enter at standard input, if it `is_used`, and that is a terminal. `is_free`: no other program uses it now."""

    def __init__(self, is_used: bool, is_free: Callable[[], bool] = lambda: True) -> None:
        self._terminal = _terminal() if is_used else None
        self._is_free = is_free

    @property
    def is_there(self) -> bool:
        """Whether a person can press it."""
        return self._terminal is not None

    def was_pressed(self) -> bool:
        """Whether it was pressed since the last call. False in the background: a read would stop this process."""
        terminal = self._terminal
        if terminal is None or not self._is_free():
            return False
        try:
            is_ours = os.tcgetpgrp(terminal) == os.getpgrp()
            if not is_ours or not select.select([terminal], [], [], 0)[0]:
                return False
            read = os.read(terminal, _MOST)
        except OSError:  # the terminal was closed
            read = b""
        if not read:
            self._terminal = None
        return b"\n" in read


def _terminal() -> int | None:
    """Standard input, if it is a terminal."""
    with suppress(OSError, ValueError):  # it is closed
        if sys.stdin is not None and sys.stdin.isatty():
            return sys.stdin.fileno()
    return None
