"""Notices when a run makes no progress, and says each known cause once. Pure: views in, lines out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from telemetry.diagnosis.causes import Diagnosis
from telemetry.phrases import seconds
from telemetry.view import View

STALLED_TICKS: Final = 20
"""No progress for so many ticks is a standstill: in a healthy run, even one that loses 40 % of all envelopes, robots
learn something every few ticks."""

_MOST_LINES: Final = 3  # at once


class StallWatch:
    """`diagnose` gives the causes for which a run in that state does not go on."""

    def __init__(self, diagnose: Callable[[View], Sequence[Diagnosis]], tick_us: int) -> None:
        self._diagnose = diagnose
        self._stalled_us = STALLED_TICKS * tick_us
        self._progress: tuple[object, ...] = ()
        self._since_us = 0
        self._checked_us = 0
        self._reported: set[str] = set()
        self.standing: tuple[str, ...] = ()
        """Why there is no progress now, as when it was checked last; empty while there is some."""

    def observe(self, view: View, now_us: int) -> list[str]:
        """A line for each cause that was not reported before, when nothing was learnt for long by `now_us` (any clock
        that only goes forward)."""
        progress = _progress_of(view)
        if progress != self._progress or view.is_held_back:
            self._progress, self._since_us, self._checked_us = progress, now_us, now_us
            self.standing = ()
        if now_us - self._checked_us < self._stalled_us or view.stopped_us is not None:
            return []
        self._checked_us = now_us  # a cause that comes later is found after as long a time
        causes = list({cause.key: cause for cause in self._diagnose(view)}.values())
        self.standing = tuple(self._lines(causes, now_us - self._since_us))
        new = [cause for cause in causes if cause.key not in self._reported]
        self._reported.update(cause.key for cause in new)
        return self._lines(new, now_us - self._since_us)

    def forget(self, now_us: int) -> None:
        """The state of the run was not known until now: no time has passed without progress."""
        self._since_us = self._checked_us = now_us
        self.standing = ()

    def _lines(self, causes: list[Diagnosis], still_us: int) -> list[str]:
        lines = [f"no progress for {seconds(still_us)}: {cause.text}" for cause in causes[:_MOST_LINES]]
        more = len(causes) - _MOST_LINES
        return [*lines, f"no progress for {more} more reasons: robots why"] if more > 0 else lines


def _progress_of(view: View) -> tuple[object, ...]:
    """What changes when the run makes progress. A robot that lacks parts and becomes quiet makes none."""
    robots = view.robots.values()
    held = sum(robot.held for robot in robots)
    quiet = sum(robot.is_quiet and robot.is_complete for robot in robots)
    return view.born, view.started_us, held, view.complete, quiet, view.is_written
