"""An event as one line of a list, in columns: when, what kind, from whom to whom, which parts, and a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, overload

from telemetry.drawing.events.words import ascii_mark, described
from telemetry.drawing.line import Fragment, Line, line
from telemetry.drawing.marks import Marks
from telemetry.drawing.table import cell
from telemetry.events import Stamped

_WHEN: Final = 10
_KIND: Final = 10
_WHO: Final = 12
_PARTS: Final = 8


def event_line(stamped: Stamped, go_us: int | None, width: int, marks: Marks) -> Line:
    """The event."""
    words = described(stamped)
    mark = ascii_mark(words.mark) if marks.is_ascii else words.mark
    who = f"{words.who}>{words.to}" if words.to else words.who
    parts = [cell(words.parts, _PARTS, words.tone), Fragment(" ")] if width >= 100 else []
    text = words.text
    if width < 100 and words.parts:
        text = f"{words.parts}: {text}"
    return line(
        cell(when(stamped.wall_us, go_us), _WHEN, "dim", True),
        "  ",
        Fragment(f"{mark} ", words.tone),
        cell(words.kind, _KIND, words.tone),
        " ",
        cell(who, _WHO),
        " ",
        *parts,
        Fragment(text, words.tone if words.tone != "good" else ""),
    )


def head_line(width: int) -> Line:
    """What stands above the columns."""
    parts = [cell("PARTS", _PARTS, "dim"), Fragment(" ")] if width >= 100 else []
    return line(
        cell("AFTER GO", _WHEN, "dim", True),
        "    ",
        cell("KIND", _KIND, "dim"),
        " ",
        cell("FROM>TO", _WHO, "dim"),
        " ",
        *parts,
        Fragment("WHAT IT SAYS", "dim"),
    )


def when(at_us: int, go_us: int | None) -> str:
    """A moment in seconds after go; `before go` while it is not known when go was given."""
    return "before go" if go_us is None else f"{(at_us - go_us) / 1e6:.3f}"


def event_key(stamped: Stamped) -> str:
    """The name of an event under the cursor: its source, life and number."""
    return f"{stamped.source}/{stamped.incarnation}/{stamped.number}"


class EventKeys(Sequence[str]):
    """The keys of many events, each made when it is asked for: there may be tens of thousands."""

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

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key.count("/") == 2 and any(key == each for each in self)
