"""The app: all of its keys together, those of time among them, and how it begins and ends.

It only reads the stage. What changes a run goes through the controls, in a thread, because it may take seconds.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from functools import partial
from typing import Final

from textual.app import SystemCommand
from textual.screen import Screen

from telemetry.drawing.keys import KEYS
from telemetry.watch.choosing import Choosing
from telemetry.watch.knobs import LEFT, STOP
from telemetry.watch.saving import Saving
from telemetry.watch.stage import Playback

CRASHED: Final = 70
"""What `run_app` returns when an error of ours ended the app."""

GONE: Final = 129
"""The exit code of a process whose terminal is gone."""

_CHECK_S: Final = 0.5  # between two checks whether it is there
_END_S: Final = 2.0  # for an end in order


class WatchApp(Choosing, Saving):
    """All keys."""

    @property
    def playback(self) -> Playback | None:
        """The stage, if its time can be moved."""
        return self.stage if isinstance(self.stage, Playback) else None

    def action_pause(self) -> None:
        """A replay plays or stands. Of a live run the view is held: the stage goes on, and what waits is counted."""
        if self.playback is not None:
            self.playback.play(not self.stage.status.is_playing)
            self.advance()
            return
        scene = self.stage.scene
        self._frozen = scene.copy() if self._frozen is None and scene is not None else None
        self.choose(is_paused=self._frozen is not None, behind=0)

    def action_step(self, events: int) -> None:
        if self.playback is None:
            self._refuse_time()
        else:
            self.playback.step(events)
            self.paint()

    def action_tick(self, ticks: int) -> None:
        if self.playback is None:
            self._refuse_time()
        else:
            self.playback.step_ticks(ticks)
            self.paint()

    def _refuse_time(self) -> None:
        self.notify("only a replay goes back and forth: robots replay", timeout=4)

    def action_more(self) -> None:
        self._change_speed(2)

    def action_less(self) -> None:
        self._change_speed(1 / 2)

    def _change_speed(self, times: float) -> None:
        if self.playback is not None:
            self.playback.set_speed(self.stage.status.speed * times)
            self.paint()

    def action_leave(self) -> None:
        self.exit(LEFT)

    def action_interrupt(self) -> None:
        """A replay ends at once: there is no run to stop."""
        if self.playback is not None:
            self.exit(STOP)
        else:
            super().action_interrupt()

    def action_suspend(self) -> None:
        """Stop all of the job that this process belongs to, as this key does in other programs: the screen is given
        back first, because the shell takes the terminal as soon as its own child has stopped. Where no shell could let
        the job go on, nothing happens."""
        if self.is_headless or os.getsid(0) == os.getpgrp():
            return
        with self.suspend():
            before = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            os.killpg(0, signal.SIGTSTP)
            signal.signal(signal.SIGTSTP, before)

    def get_system_commands(self, screen: Screen[object]) -> Iterator[SystemCommand]:  # noqa: ARG002
        """Every key's action, by its name."""
        for key in KEYS:
            if key.action != "command_palette":
                yield SystemCommand(key.text, f"key {key.keys}", partial(self.run_action, key.action))
        yield from self.knob_commands()


def run_app(app: WatchApp) -> int:
    """Run it until it ends: what it returns, or CRASHED, with the traceback on standard error."""
    is_left = threading.Event()
    threading.Thread(target=_end_without_terminal, args=(is_left,), name="terminal", daemon=True).start()
    try:
        ended = app.run()
    finally:
        is_left.set()
        app.stage.close()
    if app.crash:
        print(app.crash, file=sys.stderr, end="", flush=True)
        return CRASHED
    return LEFT if ended is None else ended


def _end_without_terminal(is_left: threading.Event) -> None:
    """End this process when its terminal is gone, unless it ends in order: Textual waits for ever to write its last
    words there."""
    while not is_left.wait(_CHECK_S):
        if not os.isatty(0) and not is_left.wait(_END_S):
            os._exit(GONE)
