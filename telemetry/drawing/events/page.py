"""The page of events: those that a person wants to see, the newest last; or one of them in detail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, overload

from telemetry.drawing.event_lines import event_key, event_line, head_line
from telemetry.drawing.event_words import is_trouble
from telemetry.drawing.events import message
from telemetry.drawing.line import Fragment, Line, Size, block, line, scrolled
from telemetry.drawing.listing import Listing, Wanted, listing
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Chosen, Moment
from telemetry.drawing.table import list_title
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
    cursor = len(events) - 1 if chosen.is_following else max(0, min(chosen.cursor, len(events) - 1))
    first = max(0, min(cursor - room // 2, len(events) - room))
    drawn = [event_line(stamped, scene.go_us, size.width, marks) for stamped in events[first : first + room]]
    shown, _ = scrolled(drawn, cursor - first, room)
    body = block([_title(moment, found), head_line(size.width), *shown], Size(size.width, size.height - 2))
    foot = line(Fragment(trouble, "bad")) if trouble else _place(first, len(shown), len(events), scene.seen, found)
    return [*body, *block([foot, line(Fragment(_HELP, "dim"))], Size(size.width, 2))]


def rows(moment: Moment) -> Sequence[str]:
    """The events that are listed, by their keys."""
    return _Keys(_listing(moment)[0].events)


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


def _place(first: int, shown: int, of: int, seen: int, found: Listing) -> Line:
    rows_shown = f"rows {first + 1 if shown else 0}..{first + shown} of {of}"
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


class _Keys(Sequence[str]):
    """The keys of many events, each made when it is asked for."""

    def __init__(self, events: Sequence[Stamped]) -> None:
        self._events = events

    def __len__(self) -> int:
        return len(self._events)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [event_key(stamped) for stamped in self._events[index]]
        return event_key(self._events[index])
