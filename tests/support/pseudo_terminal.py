"""A terminal for a program under test: what it writes, and keys for it. It shows no screen: it keeps all that came. No
tests here."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from broker.parent_death import die_with_parent
from tests.support.live_place import Place
from tests.support.waiting import DEADLINE_S, await_true

ENTERED = "\x1b[?1049h"
"""What a program writes to get the other screen, …"""
LEFT = "\x1b[?1049l"
"""… and to get back."""

_ESCAPES = re.compile(r"\x1b\[[0-9;:?<>=$]*[a-zA-Z]|\x1b[()][A-Z0-9]|\x1b[=>]")


class PseudoTerminal:
    """A terminal with one program in its foreground, which leads a session."""

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], columns: int = 100, lines: int = 30
    ) -> None:
        self._master, slave = os.openpty()
        self.resize(columns, lines)
        self.modes = termios.tcgetattr(slave)
        """As they were before the program began."""
        self._slave = slave  # kept, so that its modes can be asked for to the end
        self._written = bytearray()
        self._is_closing = threading.Event()
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env={**environment, "TERM": "xterm-256color"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=partial(_begin, os.getpid(), slave),  # noqa: PLW1509
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def written(self) -> str:
        """All that came so far, escapes too."""
        return bytes(self._written).decode(errors="replace")

    @property
    def text(self) -> str:
        """The same without escapes."""
        return _ESCAPES.sub("", self.written)

    @property
    def is_as_before(self) -> bool:
        """Whether the terminal's modes are those of before, and the normal screen is shown."""
        return termios.tcgetattr(self._slave) == self.modes and not self.shows_screens

    @property
    def shows_screens(self) -> bool:
        """Whether the other screen is shown."""
        return self.written.rfind(ENTERED) > self.written.rfind(LEFT)

    def type(self, keys: str) -> None:
        """Type them."""
        os.write(self._master, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def await_text(self, text: str, after: int = 0) -> int:
        """Until it was written, after so many letters of `text`; where it ends there."""
        try:
            await_true(lambda: text in self.text[after:], what=repr(text))
        except AssertionError:
            raise AssertionError(f"{text!r} did not come; there is {self.text[-3000:]!r}") from None
        return after + self.text[after:].index(text) + len(text)

    def await_screens(self) -> None:
        """Until the other screen is shown."""
        await_true(lambda: self.shows_screens, what="the screens")

    def await_end(self) -> int:
        """Until the program has ended; its exit status."""
        status = self.process.wait(timeout=DEADLINE_S)
        await_true(lambda: not select.select([self._master], [], [], 0)[0], what="the last words")
        return status

    def close(self) -> None:
        """Hang up, as if the window was closed."""
        if not self._is_closing.is_set():
            self._is_closing.set()
            self._thread.join()
            os.close(self._slave)
            os.close(self._master)

    def _read(self) -> None:
        while not self._is_closing.is_set():
            if select.select([self._master], [], [], 0.02)[0]:
                with suppress(OSError):
                    self._written += os.read(self._master, 1 << 16)


class Open:
    """Starts programs of a place, each on a terminal of its own."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._environment = {name: value for name, value in place.environment.items() if name != "CI"}
        self._opened: list[PseudoTerminal] = []

    def __call__(self, *arguments: str, program: Sequence[str] | None = None) -> PseudoTerminal:
        """`program`: another one than the lab's."""
        command = [*(self._place.program if program is None else program), *arguments]
        self._opened.append(PseudoTerminal(command, self._place.folder, self._environment))
        return self._opened[-1]

    def close(self) -> None:
        """End them by force."""
        for terminal in self._opened:
            terminal.process.kill()
            terminal.process.wait()
            terminal.close()


def _begin(tests: int, slave: int) -> None:
    """As a terminal starts a command: Ctrl-C acts. But it ends with the process of the tests, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # tests that were started in the background ignore it
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    die_with_parent(tests)
