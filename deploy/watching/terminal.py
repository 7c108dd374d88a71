"""The terminal itself: whether it can show the screens, and how it is put right after a program that was killed on it.

No run is known here, and nothing is printed but what puts the terminal right.
"""

from __future__ import annotations

import os
import termios
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, Literal, NamedTuple

from deploy.errors import UsageError

Ui = Literal["auto", "tui", "plain", "none"]

SMALLEST: Final = (80, 24)
"""Columns and lines that the screens need."""

_RIGHT: Final = (
    "\x1b[?2026l"  # show what is drawn
    "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1016l"  # report no mouse,
    "\x1b[?1004l\x1b[?2004l\x1b[?2048l"  # no focus, no paste and no size
    "\x1b[<u"  # plain keys
    "\x1b[?1049l"  # the normal screen
    "\x1b[?7h\x1b[?25h\x1b[0m"  # wrapped lines, a cursor, no colour
)


class Terminal(NamedTuple):
    """What the streams of this process are. `is_ours`: input, output and error are one terminal's, and this process is
    in its foreground."""

    is_ours: bool
    columns: int = 0
    lines: int = 0
    kind: str = ""  # $TERM
    is_ci: bool = False

    @property
    def is_dumb(self) -> bool:
        """Whether it cannot move its cursor, or no person reads along."""
        return self.kind in ("", "dumb", "unknown") or self.is_ci

    @property
    def moves_cursor(self) -> bool:
        """Whether a text may be painted again at the same place."""
        return self.is_ours and self.kind not in ("", "dumb", "unknown") and self.columns > 1 and self.lines > 1


def seen_terminal(environment: Mapping[str, str]) -> Terminal:
    """The terminal of this process."""
    if not all(map(os.isatty, (0, 1, 2))):
        return Terminal(is_ours=False)
    try:
        size, is_foreground = os.get_terminal_size(1), os.tcgetpgrp(0) == os.getpgrp()
    except OSError:  # it is being closed, or it is not the one that controls this process
        return Terminal(is_ours=False)
    is_ci = environment.get("CI", "").lower() not in ("", "0", "false")
    return Terminal(is_foreground, size.columns, size.lines, environment.get("TERM", ""), is_ci)


def choose_ui(asked: Ui, terminal: Terminal, *, is_json: bool = False) -> Ui:
    """What to show: `auto` is decided here. Raises UsageError where the screens are asked for and cannot be shown."""
    if asked == "auto":
        is_large = terminal.columns >= SMALLEST[0] and terminal.lines >= SMALLEST[1]
        return "tui" if terminal.is_ours and is_large and not terminal.is_dumb and not is_json else "plain"
    if asked == "tui" and not terminal.is_ours:
        raise UsageError("--ui: tui needs a terminal for standard input, output and error; allowed here is plain")
    if asked == "tui" and terminal.kind in ("", "dumb"):
        raise UsageError(f"--ui: tui needs a terminal that moves its cursor, TERM is {terminal.kind!r}; use plain")
    return asked


class SavedTerminal:
    """The modes of a terminal as they are now, to be put back later."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._modes: list[Any] | None = None
        with suppress(termios.error):
            self._modes = termios.tcgetattr(descriptor)

    def put_back(self) -> None:
        """Put them back, leave the other screen, and drop what was typed for it. A terminal that is gone is no
        error."""
        with suppress(OSError):
            os.write(self._descriptor, _RIGHT.encode())
        with suppress(termios.error):
            termios.tcflush(self._descriptor, termios.TCIFLUSH)
            if self._modes is not None:
                termios.tcsetattr(self._descriptor, termios.TCSANOW, self._modes)
