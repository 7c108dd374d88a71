"""What happened to one robot: the stories that are about it, and its own events with those that name it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from telemetry.drawing.event_lines import event_key, event_line
from telemetry.drawing.line import Fragment, Line, Size, Tone, headed, line, scrolled
from telemetry.drawing.listing import Listing, listing
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Moment
from telemetry.drawing.table import after_go, cell, list_title
from telemetry.events import (
    AnomalyBegan,
    AnomalyEnded,
    Event,
    FaultInjected,
    InjectionFailed,
    ProcessDied,
    ProcessStarted,
    RobotJoined,
    RobotLost,
    RobotWaiting,
    RobotYielded,
    Stamped,
)

_NAMING: Final[dict[type[Event], str]] = {
    FaultInjected: "victim",
    InjectionFailed: "target",
    ProcessDied: "process",
    ProcessStarted: "process",
    RobotWaiting: "robot",
    RobotYielded: "robot",
    RobotJoined: "robot",
    RobotLost: "robot",
    AnomalyBegan: "about",
    AnomalyEnded: "about",
}
"""By which field an event of another source is about a robot."""


def draw(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    """The tab."""
    scene, robot = moment.scene, moment.chosen.robot
    stories = [story for story in scene.stories.until(scene.now_us) if robot in story.about]
    above = Size(size.width, min(len(stories) + 1, size.height // 3))
    room = above.height - 1
    told: list[Line] = []
    for story in stories[-room:] if room > 0 else ():
        tone: Tone = "bad" if story.tone == "bad" else "good" if story.tone == "good" else ""
        told.append(line(cell(after_go(story.at_us, scene.go_us), 9, "dim", True), "  ", Fragment(story.text, tone)))
    title = list_title("WHAT HAPPENED", len(told), len(stories))
    return [*headed(title, told, above), *_events(moment, Size(size.width, size.height - above.height), marks)]


def rows(moment: Moment) -> Sequence[str]:
    """Its events."""
    return [event_key(stamped) for stamped in _listing(moment).events]


def _events(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    scene, found = moment.scene, _listing(moment)
    events, room = found.events, size.height - 1
    cursor = len(events) - 1 if moment.chosen.is_following else min(moment.chosen.cursor, len(events) - 1)
    first = max(0, min(cursor - room // 2, len(events) - room))
    some = [event_line(stamped, scene.go_us, size.width, marks) for stamped in events[first : first + room]]
    shown, _ = scrolled(some, cursor - first, room)
    older = f"{found.unseen} older ones not looked at yet" if found.unseen else ""
    title = list_title("ITS EVENTS", len(shown), len(events), f"of {len(scene.events)} that are kept", older)
    return headed(title, shown, size)


def _listing(moment: Moment) -> Listing:
    robot = moment.chosen.robot
    return listing(moment.scene, ("robot", robot), lambda: lambda stamped: _is_about(stamped, robot))


def _is_about(stamped: Stamped, robot: str) -> bool:
    if stamped.source == robot:
        return True
    field = _NAMING.get(type(stamped.event))
    return field is not None and str(getattr(stamped.event, field)).removeprefix("rq:").partition("/")[0] == robot
