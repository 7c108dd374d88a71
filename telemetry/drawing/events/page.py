"""The page of events: those that a person wants to see, the newest last; or one of them in detail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from telemetry.drawing.events import message
from telemetry.drawing.events.lines import EventKeys, event_line, head_line
from telemetry.drawing.events.listing import Listing, Wanted, listing
from telemetry.drawing.events.words import is_trouble
from telemetry.drawing.line import Fragment, Line, Size, block, line, scrolled
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Chosen, Moment
from telemetry.drawing.table import list_title, nothing, window
from telemetry.events import Stamped
from telemetry.tail.filter import FilterSyntaxError, filter_of

_HELP: Final = "enter: a message's life   t: tail   o: only trouble   /: r03 *.sent peer=r05"


def draw(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    """The page."""
    if moment.chosen.event:
        return message.draw(moment, size, marks)
    chosen, scene = moment.chosen, moment.scene
    found, trouble = _listing(moment)
    events, room = found.events, size.height - 4
    shown, cursor = window(len(events), len(events) - 1 if chosen.is_following else chosen.cursor, room)
    drawn = [event_line(stamped, scene.go_us, size.width, marks) for stamped in events[shown]]
    empty = [] if events or found.unseen else [nothing("event", chosen.is_only_trouble, chosen.filter)]
    lines = [_title(moment, found), head_line(size.width), *empty, *scrolled(drawn, cursor, room)[0]]
    body = block(lines, Size(size.width, size.height - 2))
    foot = line(Fragment(trouble, "bad")) if trouble else _place(shown, len(events), scene.seen, found)
    return [*body, *block([foot, line(Fragment(_HELP, "dim"))], Size(size.width, 2))]


def rows(moment: Moment) -> Sequence[str]:
    """The events that are listed, by their keys."""
    return EventKeys(_listing(moment)[0].events)


def _title(moment: Moment, found: Listing) -> Line:
    chosen, scene = moment.chosen, moment.scene
    return list_title(
        "EVENTS",
        len(found.events),
        len(scene.events),
        "tail on" if chosen.is_following else "tail off",
        "only trouble" if chosen.is_only_trouble else "",
        f"filter: {chosen.filter}" if chosen.filter else "",
    )


def _place(shown: slice, of: int, seen: int, found: Listing) -> Line:
    rows_shown = f"rows {shown.start + 1}..{shown.stop} of {of}" if of else "no rows"
    unseen = f"   {found.unseen} older ones not looked at yet" if found.unseen else ""
    gone = seen - found.kept
    older = f"   {gone} older ones are no longer kept here: the record has them" if gone else ""
    return line(Fragment(f"{rows_shown}{unseen}{older}", "dim"))


def _listing(moment: Moment) -> tuple[Listing, str]:
    """The events that are wanted, and what is wrong with the filter."""
    chosen = moment.chosen
    trouble = ""
    text = chosen.filter.strip()
    try:
        matches = filter_of([text]) if text else None
    except FilterSyntaxError as error:
        trouble, text, matches = f"{error}: all are shown", "", None
    key = ("events", text, chosen.is_only_trouble)
    return listing(moment.scene, key, lambda: _wanted(matches, chosen)), trouble


def _wanted(matches: Callable[[Stamped], bool] | None, chosen: Chosen) -> Wanted:
    if matches is None:
        return is_trouble if chosen.is_only_trouble else lambda _stamped: True
    if not chosen.is_only_trouble:
        return matches
    return lambda stamped: is_trouble(stamped) and matches(stamped)
