"""The screens of a live run in this process: the app with its stage, from the first paint until it is left.

Only who shows screens loads this file, because it brings Textual with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from deploy.attach.discovery import RunLocation
from deploy.processes.signals import ShutdownSignals
from deploy.watching.leaving import Appearance, Left
from deploy.watching.live_stage import LiveStage
from telemetry.drawing.marks import Marks
from telemetry.watch.app import CRASHED, WatchApp, run_app
from telemetry.watch.knobs import LEFT, STOP
from telemetry.watch.stage import Controls, Stage


class LiveApp(WatchApp):
    """The app, which also ends when `is_to_end` says so, or its terminal is gone. `is_opened`: by the run's parent."""

    def __init__(
        self,
        stage: Stage,
        controls: Controls | None,
        appearance: Appearance,
        is_to_end: Callable[[], bool],
        *,
        is_opened: bool = False,
    ) -> None:
        super().__init__(stage, controls, Marks(appearance.is_ascii), appearance.hertz)
        self._is_to_end = is_to_end
        self._is_opened = is_opened

    def stop_run(self, controls: Controls) -> None:
        """The run's parent, if it has opened the screens, interrupts its run itself."""
        if self._is_opened:
            self.exit(STOP)
        else:
            super().stop_run(controls)

    def advance(self) -> None:
        """As usual, if the app is not to end."""
        if self._is_to_end() or not os.isatty(0):
            self.exit(LEFT)
        else:
            super().advance()


def show_live(where: RunLocation, runs: Path, controls: Controls | None, appearance: Appearance) -> Left:
    """Show the run until the person leaves. Raises what broke the reader."""
    opener = where.parent if where.parent == os.getppid() else None
    stage = LiveStage(where, runs, is_read_only=controls is None)
    with ShutdownSignals() as shutdown:

        def is_to_end() -> bool:
            return shutdown.reason is not None or _is_orphan(opener)

        code = run_app(LiveApp(stage, controls, appearance, is_to_end, is_opened=opener is not None))
    if stage.failure is not None:
        raise stage.failure
    return Left(
        has_crashed=code == CRASHED,
        wants_stop=code == STOP,
        by_signal=shutdown.reason is not None,
        is_opened=opener is not None,
        is_orphan=_is_orphan(opener),
        verdict=_verdict(stage),
    )


def _is_orphan(opener: int | None) -> bool:
    """Whether the run's parent has opened the screens, and is gone."""
    return opener is not None and os.getppid() != opener


def _verdict(stage: LiveStage) -> str | None:
    status = stage.status
    if not status.is_over:
        return None
    return "" if status.result is None else str(status.result["verdict"])
