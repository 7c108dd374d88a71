"""The terminal of a run's parent, lent to the app: it is a process of its own, and what the parent and its children
print meanwhile is held back, so that nothing is written across the screens.

The app may be left, crash or be killed: the run goes on, and its lines are printed from then on. No thread is here: the
parent forks.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from deploy.errors import INTERRUPTED
from deploy.processes.forking import flush_streams
from deploy.processes.signals import ShutdownSignals
from deploy.watching.terminal import SavedTerminal, Ui

LEAVE_S: Final = 2.0  # for the app to leave, when it is asked to
LAST_LINES: Final = 10
"""Lines of progress that are printed when the app is left early: the newest."""

_STREAMS: Final = (2, 1)  # in the order in which they are printed: notes, then the result
_CHUNK: Final = 1 << 16
_ROOT: Final = Path(__file__).parents[2]  # from where the app is imported, too
_LEFT: Final = 0  # exit codes of the app

Report = Callable[[str], None]


class RunTerminal:
    """Where the parent of a run prints. With `ui` `tui` nothing is printed from the beginning of the `with` block until
    the app has ended; with `none` no progress at all. `report` prints a line."""

    def __init__(self, ui: Ui, shutdown: ShutdownSignals, report: Report) -> None:
        self._ui = ui
        self._shutdown = shutdown
        self._report = report
        self._held: list[_HeldStream] = []
        self._is_lent = False
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._app: subprocess.Popen[bytes] | None = None
        self._run = ""
        self.shows_result = sys.stdout is not None and sys.stdout.isatty()
        """Whether the result is printed on a terminal, now or later."""

    @property
    def is_free(self) -> bool:
        """Whether no app has it: its keys are the parent's."""
        return not self._is_lent

    def __enter__(self) -> RunTerminal:
        if self._ui == "tui":
            flush_streams()
            self._saved = SavedTerminal(0)
            self._held = [_HeldStream(stream) for stream in _STREAMS]
            self._is_lent = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end_app()
        self._take_back()
        for stream in self._held:
            stream.close()

    def lend(self, folder: Path, options: Sequence[str]) -> None:
        """Start the app for the run that is recorded in `folder`; with another `ui` nothing happens."""
        if not self._is_lent:
            return
        self._run = folder.name
        command = [
            sys.executable,
            "-P",
            "-m",
            "deploy",
            "watch",
            str(folder.absolute()),
            "--opened",
            "--ui",
            "tui",
            *options,
        ]
        err, out = (stream.own for stream in self._held)
        self._app = subprocess.Popen(command, stdout=out, stderr=err, env=_environment())  # noqa: S603

    def progress(self, line: str) -> None:
        """Print a line of progress, or keep it while the app has the terminal."""
        if self._is_lent:
            self._lines.append(line)
        elif self._ui != "none":
            self._report(line)

    def poll(self) -> None:
        """See whether the app has ended, and print what is due. To be called again and again while the run goes on."""
        if self._app is not None and self._app.poll() is not None:
            status = self._buried()
            self._take_back()
            for line in self._lines:
                self._report(line)
            if status == INTERRUPTED:
                self._shutdown.ask("interrupted")
            elif status != _LEFT and self._shutdown.reason is None:
                self._report(f"the screens ended ({_ended(status)}); the run goes on: robots watch {self._run}")
        for stream in self._held if not self._is_lent else ():
            stream.print_new()  # of children that were started before

    def await_left(self) -> None:
        """The run is over: wait until the person has left the app. A signal ends it."""
        if self._app is not None and self._app.poll() is None:
            handle = os.pidfd_open(self._app.pid)
            try:
                while self._shutdown.reason is None and self._app.poll() is None:
                    select.select([handle, self._shutdown.read_end], [], [])
                    self._shutdown.drain()
            finally:
                os.close(handle)
        self._end_app()
        self._take_back()

    def _end_app(self) -> None:
        """End it, if it lives; it restores the terminal itself when it can."""
        if self._app is None:
            return
        self._app.terminate()
        try:
            self._app.wait(LEAVE_S)
        except subprocess.TimeoutExpired:
            self._app.kill()
            self._app.wait()
        self._buried()

    def _buried(self) -> int:
        """The exit status of the app, which has ended; the terminal is put right if it did not end in order."""
        assert self._app is not None, "there is one"
        status = self._app.wait()
        self._app = None
        if status not in (_LEFT, INTERRUPTED):
            self._saved.put_back()
        return status

    def _take_back(self) -> None:
        """Print on the terminal again, what was held back first."""
        if self._is_lent:
            flush_streams()
            for stream in self._held:
                stream.release()
            self._is_lent = False
        for stream in self._held:
            stream.print_new()


class _HeldStream:
    """A standard stream of this process, which goes into memory until it is released; `own` is where it went before.
    Children that are forked meanwhile write there to their end."""

    def __init__(self, stream: int) -> None:
        self.own = os.dup(stream)
        self._stream = stream
        self._memory = os.memfd_create(f"held-{stream}")
        self._printed = 0
        os.dup2(self._memory, stream)

    def release(self) -> None:
        """What is written from now on goes where it went before."""
        os.dup2(self.own, self._stream)

    def print_new(self) -> None:
        """Print what has come into the memory. A terminal that is gone is no error."""
        while chunk := os.pread(self._memory, _CHUNK, self._printed):
            self._printed += len(chunk)
            with suppress(OSError):
                while chunk:
                    chunk = chunk[os.write(self.own, chunk) :]

    def close(self) -> None:
        """To be called once it was released."""
        os.close(self.own)
        os.close(self._memory)


def _environment() -> dict[str, str]:
    """In which the app finds the same lab, wherever it is started."""
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _ended(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit {status}"
