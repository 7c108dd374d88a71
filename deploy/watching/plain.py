"""A live run as plain lines: what has happened, then what happens, and the verdict. Neither screens nor escapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from deploy.attach.discovery import RunLocation
from deploy.errors import ENVIRONMENT, INTERRUPTED
from deploy.observing.diagnosis import stall_watch
from deploy.observing.results import result_lines
from deploy.processes.signals import ShutdownSignals
from deploy.watching.live_stage import POLL_S
from deploy.watching.run_reader import RunReader, RunUpdate
from telemetry.console import harmless
from telemetry.events import Stamped
from telemetry.phrases import counted
from telemetry.plain.progress import Progress
from telemetry.scene.scene import Scene

Write = Callable[[str], bool]
"""Prints a line; False when its reader is gone."""


def watch_plain(where: RunLocation, runs: Path, shutdown: ShutdownSignals, write: Write) -> int:
    """Print the run until it was judged, a signal comes, or the reader of the lines is gone; the exit code."""
    lines = _PlainLines(shutdown, write, where.folder or runs / where.run)
    reader = RunReader(where, runs, POLL_S, lines.take)
    lines.end = reader.end
    reader.read()
    lines.close()
    if shutdown.reason is not None:
        return INTERRUPTED
    return ENVIRONMENT if lines.is_broken else 0


class _PlainLines:
    """Turns what was read into lines. `end` ends the reader."""

    def __init__(self, shutdown: ShutdownSignals, write: Write, folder: Path) -> None:
        self.end: Callable[[], None] = lambda: None
        self.is_broken = False
        self._shutdown = shutdown
        self._write = write
        self._folder = folder
        self._scene: Scene | None = None
        self._progress = Progress(self._print)
        self._missed = 0

    def take(self, update: RunUpdate) -> None:
        """Print what is new."""
        if update.scene is not None:
            self._begin(update.scene, update)
        for stamped in update.events:
            self._handle(stamped)
        if self._scene is not None and not update.is_over:
            self._progress.observe(self._scene.view, update.clock.wall_us(), update.away_s)
        if update.missed > self._missed:
            self._missed = update.missed
            self._print(f"{counted(update.missed, 'event')} never came")
        if update.result is not None:
            self._progress.close()
            self._print_all(result_lines(update.result, self._folder))
        elif update.trouble:
            self._progress.close()
            self.is_broken = not update.is_over
            self._print(harmless(update.trouble))
            self.end()
        if self._shutdown.reason is not None:
            self.end()

    def close(self) -> None:
        """Print what is held back."""
        self._progress.close()

    def _begin(self, scene: Scene, update: RunUpdate) -> None:
        self._scene = scene
        self._progress = Progress(self._print, stall_watch(update.dealt, scene.settings.tick_us))
        for stamped in scene.events:
            self._progress.handle(stamped, _nothing)

    def _handle(self, stamped: Stamped) -> None:
        if self._scene is not None:
            self._scene.handle(stamped)
        self._progress.handle(stamped, _nothing)

    def _print_all(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._print(line)

    def _print(self, line: str) -> None:
        if not self._write(line):
            self.end()


def _nothing(_stamped: Stamped) -> None:
    pass
