"""`robots watch`: a live run on the screens, as plain lines, or as its events. It only reads, and may be left at any
time: the run goes on.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import App, Parameter

from broker.errors import Unavailable
from broker.streams.connection import check_server, connect
from deploy.attach.discovery import RunLocation
from deploy.commands.output import print_result, report
from deploy.commands.service import Run, pause
from deploy.config.flags import Given, takes
from deploy.config.settings import ScreenSettings, load_model
from deploy.errors import INTERRUPTED, SOFTWARE, EnvironmentFailure, UsageError
from deploy.observing.controls import LiveControls
from deploy.observing.event_tail import LiveEvents
from deploy.processes.signals import ShutdownSignals
from deploy.watching.leaving import Appearance, Left, words_of
from deploy.watching.plain import watch_plain
from deploy.watching.terminal import choose_ui, seen_terminal
from deploy.watching.watched_run import find_watched, opened_run
from telemetry.tail.line import missed_line
from telemetry.watch.stage import Controls

EXAMPLES: Final = """\
Examples:

  robots watch
  robots watch 7b08e1 --read-only
  robots watch --hz 10 --ascii
  robots watch --ui plain | tee run.log
  robots watch 7b08e1 --redis-url redis://lab.example:6379

Keys: ? shows all, q leaves (the run goes on), Ctrl-C twice stops the run.
"""

_SCREENS: Final = "deploy.watching.screens"  # it brings Textual with it: loaded only when it is shown
ENDED: Final = 143
"""The exit code of screens that a run opened, and a signal ended: the run is not to be interrupted."""

_encode = msgspec.json.Encoder().encode

app = App(name="watch", help_epilogue=EXAMPLES)

ReadOnly = Annotated[bool, Parameter(help="Without the keys that change the run.")]


Opened = Annotated[bool, Parameter(show=False)]
"""Whether the parent of the run at the folder RUN has opened the screens, and waits for their end."""


@app.default
@takes(ScreenSettings)
def watch(run: Run = None, /, *, read_only: ReadOnly = False, opened: Opened = False, given: Given) -> int:
    """Watch a live run."""
    settings = load_model(ScreenSettings, given)
    if settings.ui == "none":
        raise UsageError("--ui: none shows nothing; allowed here are auto, tui and plain")
    ui = choose_ui(settings.ui, seen_terminal(os.environ), is_json=settings.json_)
    with ShutdownSignals() as shutdown:
        if opened and run is not None:
            return _show(opened_run(Path(run), _waiting(shutdown)), settings, read_only)
        where = find_watched(settings, run, _waiting(shutdown), lambda line: report(f"robots: {line}"))
        with connect(where.address.data) as client:
            check_server(client)
        if settings.json_:
            return _print_events(where, shutdown)
        if ui == "plain":
            return _left_plain(watch_plain(where, settings.runs_dir, shutdown, print_result), where)
    return _show(where, settings, read_only)


def _show(where: RunLocation, settings: ScreenSettings, read_only: bool) -> int:
    """Show the screens until the person leaves; the exit code."""
    appearance = Appearance(settings.hz, settings.ascii or not _has_unicode())
    controls = None if read_only else LiveControls(where)
    left: Left = import_module(_SCREENS).show_live(where, settings.runs_dir, controls, appearance)
    return _left(left, where, controls)


def _left(left: Left, where: RunLocation, controls: Controls | None) -> int:
    """Tell what a person has to know after they left the screens, and do what they wanted; the exit code."""
    if left.wants_stop and left.is_opened:
        return INTERRUPTED  # the parent ends the run
    if left.wants_stop and left.verdict is None and controls is not None:
        for line in controls.stop().lines:
            report(line)
        return 0
    if words := words_of(left, where.run):
        report(words)
    if left.has_crashed:
        return SOFTWARE
    if left.by_signal:
        return ENDED if left.is_opened else INTERRUPTED
    return 0


def _left_plain(code: int, where: RunLocation) -> int:
    if code == INTERRUPTED:
        report(words_of(Left(), where.run))
    return code


def _print_events(where: RunLocation, shutdown: ShutdownSignals) -> int:
    """All events of the run, each as an object on a line, until it is over."""
    with connect(where.address.data) as client:
        live = LiveEvents(client, where)
        try:
            past = live.past()
        except Unavailable as error:
            raise EnvironmentFailure(f"the server of run {where.run} went away: {error}") from None
        for batch in chain([past], live.coming(_waiting(shutdown))):
            if batch and not print_result("\n".join(_encode(stamped).decode() for stamped in batch)):
                break
    if live.missed:
        report(f"robots: {missed_line(live.missed)}")
    return INTERRUPTED if shutdown.reason is not None else 0


def _waiting(shutdown: ShutdownSignals) -> Callable[[float], bool]:
    """Waits so long; False once the command was interrupted."""

    def go_on(seconds: float) -> bool:
        pause(shutdown, seconds)
        return shutdown.reason is None

    return go_on


def _has_unicode() -> bool:
    """Whether the terminal's encoding has the letters that the screens are drawn with."""
    return sys.stdout is not None and (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
