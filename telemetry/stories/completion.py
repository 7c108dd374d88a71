"""The moments of a run's convergence that a person waits for: the first robot is complete, and all are."""

from __future__ import annotations

from typing import Any, Final

from telemetry.events import EvidenceLost, RobotBorn, RobotComplete, RobotJoined, RunDealt, Stamped, WorkerGaveUp
from telemetry.phrases import counted
from telemetry.stories.book import Book


class Completion:
    """Which robots are complete, as far as they reported it."""

    def __init__(self) -> None:
        self._robots = 0  # dealt ones, and those that joined
        self._parts = 0
        self._complete: frozenset[str] = frozenset()
        self._gone: frozenset[str] = frozenset()  # that will not live again
        self._reported = ""

    def handle(self, book: Book, stamped: Stamped) -> None:
        """Take an event of one of the KINDS."""
        robot, event = stamped.source, stamped.event
        match event:
            case RunDealt(robots, parts):
                self._robots, self._parts = robots, parts
            case RobotJoined():
                self._robots += 1
                self._reported = "first"
            case RobotComplete():
                self._complete |= {robot}
            case RobotBorn(parts):
                self._complete = self._complete | {robot} if 0 < parts == self._parts else self._complete - {robot}
            case EvidenceLost("journal"):
                self._gone |= {robot}
            case WorkerGaveUp(worker) if worker == robot:
                self._gone |= {robot}
        self._report(book, stamped)

    def _report(self, book: Book, stamped: Stamped) -> None:
        there = self._complete - self._gone
        if there and not self._reported:
            self._reported = "first"
            text = f"{stamped.source} is complete, the first of {self._robots}"
            book.report(
                stamped.wall_us, f"{text}: it holds all {counted(self._parts, 'part')}", stamped.source, tone="good"
            )
        if self._reported == "first" and 0 < len(there) == self._robots - len(self._gone):
            self._reported = "all"
            living = "living " if self._gone else ""
            book.report(stamped.wall_us, f"all {len(there)} {living}robots are complete", tone="good")

    def copy(self) -> Completion:
        other = Completion()
        other.__dict__.update(self.__dict__)
        return other


KINDS: Final[frozenset[type[Any]]] = frozenset(
    (RunDealt, RobotJoined, RobotComplete, RobotBorn, EvidenceLost, WorkerGaveUp)
)
"""The events that matter here."""
