"""Who taught whom which part, and when: from the reports of the learners."""

from __future__ import annotations

from typing import NamedTuple

from telemetry.events import PartsMerged, Stamped
from telemetry.view import View


class Lesson(NamedTuple):
    """A part that came from `sender`, in its life `incarnation`, at `at_us` of the wall clock."""

    part: int
    sender: str
    incarnation: int
    at_us: int


class Teaching:
    """`lessons` by learner and part: the first that was reported counts, as a robot learns a part once."""

    def __init__(self) -> None:
        self.lessons: dict[str, dict[int, Lesson]] = {}
        self.last: dict[str, Lesson] = {}
        """By learner, the newest."""

    def handle(self, stamped: Stamped, view: View) -> None:  # noqa: ARG002
        """Take the lessons of an event."""
        event = stamped.event
        if not isinstance(event, PartsMerged):
            return
        learnt = dict(self.lessons.get(stamped.source, {}))  # a new value, so that copies share what is older
        for part in event.indices:
            lesson = Lesson(part, event.sender, event.sender_incarnation, stamped.wall_us)
            learnt.setdefault(part, lesson)
            self.last[stamped.source] = lesson
        self.lessons[stamped.source] = learnt

    def copy(self) -> Teaching:
        other = Teaching()
        other.lessons, other.last = self.lessons.copy(), self.last.copy()
        return other
