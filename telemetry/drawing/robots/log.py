"""What happened to one robot: the stories that are about it, and its own events with those that name it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from telemetry.drawing.events.lines import EventKeys, event_line
from telemetry.drawing.events.listing import Listing, listing
from telemetry.drawing.line import Fragment, Line, Size, Tone, headed, line, scrolled
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Moment
from telemetry.drawing.table import after_go, cell, list_title, window
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
    lines: list[Line] = []
    for story in stories[-room:] if room > 0 else ():
        tone: Tone = "bad" if story.tone == "bad" else "good" if story.tone == "good" else ""
        lines.append(line(cell(after_go(story.at_us, scene.go_us), 9, "dim", True), "  ", Fragment(story.text, tone)))
    title = list_title("WHAT HAPPENED", len(lines), len(stories))
    return [*headed(title, lines, above), *_events(moment, Size(size.width, size.height - above.height), marks)]


def rows(moment: Moment) -> Sequence[str]:
    """Its events, the newest first."""
    return EventKeys(_listing(moment).events[::-1])


def _events(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    """The newest first."""
    scene, found, room = moment.scene, _listing(moment), size.height - 1
    events = found.events[::-1]
    shown, cursor = window(len(events), moment.chosen.cursor, room)
    drawn = [event_line(stamped, scene.go_us, size.width, marks) for stamped in events[shown]]
    older = f"{found.unseen} older ones not looked at yet" if found.unseen else ""
    title = list_title("ITS EVENTS", len(drawn), len(events), "the newest first", older)
    return headed(title, scrolled(drawn, cursor, room)[0], size)


def _listing(moment: Moment) -> Listing:
    robot = moment.chosen.robot
    return listing(moment.scene, ("robot", robot), lambda: lambda stamped: _is_about(stamped, robot))


def _is_about(stamped: Stamped, robot: str) -> bool:
    if stamped.source == robot:
        return True
    field = _NAMING.get(type(stamped.event))
    return field is not None and str(getattr(stamped.event, field)).removeprefix("rq:").partition("/")[0] == robot
