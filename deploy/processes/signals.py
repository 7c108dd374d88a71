"""How signals end a command: the first one asks for an end in order, and later ones are ignored.

A signal handler raises nothing: the work checks `reason` regularly. All that follows the first signal is bounded in
time.
"""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Final

_REASONS: Final = {signal.SIGINT: "interrupted", signal.SIGTERM: "stopped", signal.SIGHUP: "stopped"}


class ShutdownSignals:
    """Within the `with` block SIGINT, SIGTERM and SIGHUP set `reason`, and end a wait for the descriptor `read_end`.

    A signal that is ignored stays so (`nohup`); after the first signal, all are ignored until the process is gone.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self._read_end, self._write_end = socket.socketpair()
        self._read_end.setblocking(False)
        self._write_end.setblocking(False)

    @property
    def read_end(self) -> int:
        """To wait for, beside other things."""
        return self._read_end.fileno()

    def ask(self, reason: str) -> None:
        """Ask for an end, as a signal does; a reason that is there already stays."""
        self.reason = self.reason or reason

    def drain(self) -> None:
        """Be ready for the next wait."""
        with suppress(BlockingIOError):
            os.read(self.read_end, 64)

    def __enter__(self) -> ShutdownSignals:
        self._wakeup = signal.set_wakeup_fd(self._write_end.fileno(), warn_on_full_buffer=False)
        handled = [number for number in _REASONS if signal.getsignal(number) != signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._handle) for number in handled}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler if self.reason is None else signal.SIG_IGN)  # the end has begun
        signal.set_wakeup_fd(self._wakeup)
        self._read_end.close()
        self._write_end.close()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.reason = self.reason or _REASONS[signal.Signals(number)]
