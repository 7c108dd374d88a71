"""A live run as the app's stage: a thread reads it, and `advance` folds what has come. Nothing here blocks, and nothing
is changed on the server.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from deploy.attach.discovery import RunLocation
from deploy.observing.diagnosis import stall_watch
from deploy.watching.run_reader import RunReader, RunUpdate
from telemetry.diagnosis.stalls import StallWatch
from telemetry.drawing.moment import Status
from telemetry.scene.scene import Scene

POLL_S: Final = 0.1  # between two reads of the run's events
COST_S: Final = 5.0  # over which the observer's own cost is measured
_CLOSE_S: Final = 5.0  # for the reader to end: a command to a server that is away takes seconds
_SILENT_S: Final = 1.0


class LiveStage:
    """The run at `where`; `runs`: where records of this host are. It reads from the beginning of its life."""

    def __init__(self, where: RunLocation, runs: Path, *, is_read_only: bool = False, poll_s: float = POLL_S) -> None:
        self.scene: Scene | None = None
        self.status = Status(is_read_only=is_read_only, folder=where.folder)
        self.failure: BaseException | None = None
        """What ended the reader, if no code of ours expects it."""
        self._updates: queue.SimpleQueue[RunUpdate] = queue.SimpleQueue()
        self._last = RunUpdate()
        self._stalls: StallWatch | None = None
        self._cost = _Cost()
        self._reader = RunReader(where, runs, poll_s, self._updates.put)
        self._thread = threading.Thread(target=self._read, name="reader", daemon=True)
        self._thread.start()

    def advance(self) -> None:
        """Fold what has come since the last call, and let time pass."""
        with suppress(queue.Empty):
            while True:
                self._take(self._updates.get_nowait())
        last = self._last
        if self.scene is not None and not last.is_over:
            self.scene.now_us = max(self.scene.now_us, last.clock.wall_us())
        self.status = replace(
            self.status,
            is_over=last.is_over,
            is_held=self.scene is not None and self.scene.view.is_held_back and not last.is_over,
            cost=self._cost.measured(),
            lag_us=last.lag_us,
            missed=last.missed,
            away_s=last.away_s,
            diagnosis=self._diagnosis(),
            result=last.result,
            secret=last.secret,
            trouble=last.trouble,
        )

    def close(self) -> None:
        """End the reader."""
        self._reader.end()
        self._thread.join(_CLOSE_S)

    def _read(self) -> None:
        """The life of the reader's thread."""
        try:
            self._reader.read()
        except BaseException as error:  # told on the screen, and raised when it is left
            self.failure = error
            self._updates.put(replace(self._last, events=[], trouble=f"the reader failed: {error!r}"))

    def _take(self, update: RunUpdate) -> None:
        self._last = update
        if update.scene is not None:
            self.scene = update.scene
            self._stalls = stall_watch(update.dealt, update.scene.settings.tick_us)
        if self.scene is not None:
            for stamped in update.events:
                self.scene.handle(stamped)

    def _diagnosis(self) -> tuple[str, ...]:
        """Why there is no progress now, as far as the state of the run is known."""
        if self.scene is None or self._stalls is None or self._last.is_over:
            return ()
        if self._last.away_s >= _SILENT_S:
            self._stalls.forget(self.scene.now_us)
        self._stalls.observe(self.scene.view, self.scene.now_us)
        return self._stalls.standing


class _Cost:
    """The share of a core that this process used lately."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()  # monotonic, CPU; seconds

    def measured(self) -> float | None:
        """0..1, more with several cores; None at the beginning."""
        now = (time.monotonic(), time.process_time())
        self._samples.append(now)
        while now[0] - self._samples[0][0] > COST_S and len(self._samples) > 2:
            self._samples.popleft()
        wall, cpu = now[0] - self._samples[0][0], now[1] - self._samples[0][1]
        return cpu / wall if wall >= 1 else None
