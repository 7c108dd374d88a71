"""How a person or a machine ends a command: the first signal is a wish that is granted in order; there is no second.

Nothing is raised in the middle of anything: who works looks at `reason` now and then. All that follows the wish is
bounded in time, so impatience needs no way of its own.
"""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Final

_REASONS: Final = {signal.SIGINT: "interrupted", signal.SIGTERM: "stopped", signal.SIGHUP: "stopped"}


class Endings:
    """Within the `with` block SIGINT, SIGTERM and SIGHUP set `reason`, and end a wait for the descriptor `ear`.

    A signal that is ignored stays so (`nohup`); after a wish to end, all are ignored until the process is gone.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self._ear, self._mouth = socket.socketpair()
        self._ear.setblocking(False)
        self._mouth.setblocking(False)

    @property
    def ear(self) -> int:
        """To wait for, beside other things."""
        return self._ear.fileno()

    def drain(self) -> None:
        """Be ready for the next wait."""
        with suppress(BlockingIOError):
            os.read(self.ear, 64)

    def __enter__(self) -> Endings:
        self._wakeup = signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
        heard = [number for number in _REASONS if signal.getsignal(number) != signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._hear) for number in heard}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler if self.reason is None else signal.SIG_IGN)  # the wish has been granted
        signal.set_wakeup_fd(self._wakeup)
        self._ear.close()
        self._mouth.close()

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        self.reason = self.reason or _REASONS[signal.Signals(number)]
