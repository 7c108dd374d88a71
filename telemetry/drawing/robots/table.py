"""The table of all robots: one row each, with the columns that fit, sorted and filtered as a person wants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from telemetry.drawing.line import Fragment, Line, Size, Tone, block, line, scrolled
from telemetry.drawing.marks import TONES, Marks
from telemetry.drawing.moment import Moment
from telemetry.drawing.robots.facts import SPARK_SECONDS, Facts, listed, severity
from telemetry.drawing.table import ago, cell, list_title, nothing, window
from telemetry.phrases import share

_BAR: Final = 8
_NOTE: Final = 16  # cells that a note needs
_FOOT: Final = 2  # lines
_MANY: Final = 10  # envelopes
_HELP: Final = Fragment("enter: in detail   s: sort   o: only trouble   /: by name or state", "dim")
_LEGEND: Final = Fragment("IN: of what was sent to it, the share that arrived   OUT: of what it sent", "dim")


class _Column(NamedTuple):
    """`rank`: the columns of the lowest rank are shown first, as long as there is room. `show`: text and tone."""

    name: str
    width: int
    rank: int
    show: Callable[[Facts, Marks, int], tuple[str, Tone]]
    sort: Callable[[Facts], Any]
    is_number: bool = True


def draw(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    """The table."""
    facts = listed(moment, _SORTS)
    columns, note = _fitting(size.width)
    head = _head(moment, len(facts), columns, note, marks)
    room = size.height - len(head) - _FOOT
    shown, cursor = window(len(facts), moment.chosen.cursor, room)
    drawn = [_row(each, columns, note, marks, moment.scene.now_us) for each in facts[shown]]
    above, below = shown.start, len(facts) - shown.stop
    foot = line(Fragment(f"{above} above, {below} below   " if above or below else "", "news"), _HELP)
    if facts and facts[shown][cursor].note:
        foot = line(Fragment(f"{facts[shown][cursor].name}: {facts[shown][cursor].note}", "bad"))
    empty = [] if facts else [nothing("robot", moment.chosen.is_only_trouble, moment.chosen.filter)]
    body = block([*head, *empty, *scrolled(drawn, cursor, room)[0]], Size(size.width, size.height - _FOOT))
    return body + block([foot, line(_LEGEND)], Size(size.width, _FOOT))


def rows(moment: Moment) -> Sequence[str]:
    """The names of the robots in the table, in its order."""
    return [each.name for each in listed(moment, _SORTS)]


def _fitting(width: int) -> tuple[list[_Column], int]:
    """The columns that fit, in their order, and how much room is left for a note."""
    chosen: list[_Column] = []
    left = width
    for column in sorted(_COLUMNS, key=lambda each: each.rank):
        if column.width + 1 <= left:
            chosen.append(column)
            left -= column.width + 1
    return [column for column in _COLUMNS if column in chosen], left if left >= _NOTE else 0


def _head(moment: Moment, count: int, columns: list[_Column], note: int, marks: Marks) -> list[Line]:
    chosen = moment.chosen
    by = _COLUMNS[chosen.sort % len(_COLUMNS)]
    arrow = marks.sorted_down if chosen.is_reversed else marks.sorted_up
    title = list_title(
        "ROBOTS",
        count,
        len(moment.scene.robots),
        f"sorted by {by.name.lower()}" + (", reversed" if chosen.is_reversed else ""),
        f"filter: {chosen.filter}" if chosen.filter else "",
        "only trouble" if chosen.is_only_trouble else "",
    )
    names: list[Fragment | str] = []
    for column in columns:
        is_sorted = column is by
        name = f"{column.name}{arrow}" if is_sorted else column.name
        names += [cell(name, column.width, "key" if is_sorted else "dim", column.is_number), " "]
    return [title, line(*names, cell("WHAT IS WRONG", note, "dim"))]


def _row(facts: Facts, columns: list[_Column], note: int, marks: Marks, now_us: int) -> Line:
    cells: list[Fragment | str] = []
    for column in columns:
        text, tone = column.show(facts, marks, now_us)
        cells += [cell(text, column.width, tone, column.is_number), " "]
    return line(*cells, cell(facts.note, note, "bad"))


def _percent(part: float | None) -> str:
    return "-" if part is None else share(part).replace("under ", "<").replace("over ", ">")


def _arrives_in(facts: Facts, _marks: Marks, _now_us: int) -> tuple[str, Tone]:
    return _percent(facts.arrives_in), _arrival_tone(facts.arrives_in, facts.sent_to)


def _arrives_out(facts: Facts, _marks: Marks, _now_us: int) -> tuple[str, Tone]:
    return _percent(facts.arrives_out), _arrival_tone(facts.arrives_out, facts.traffic.sent)


def _arrival_tone(part: float | None, of: int) -> Tone:
    """Of a few envelopes most may still be on their way."""
    return "bad" if part is not None and part < 0.5 and of >= _MANY else ""


def _state(facts: Facts, marks: Marks, _now_us: int) -> tuple[str, Tone]:
    return f"{marks.states[facts.state]} {facts.state}", TONES[facts.state]


def _parts(facts: Facts, marks: Marks, _now_us: int) -> tuple[str, Tone]:
    part = facts.held / facts.of if facts.of else 0.0
    return f"{marks.bar(part, _BAR)} {facts.held:3}", "good" if facts.held == facts.of else "news"


def _taught(facts: Facts, _marks: Marks, _now_us: int) -> tuple[str, Tone]:
    return ("-", "dim") if facts.taught is None else (facts.taught.sender, "")


def _count(number: Callable[[Facts], int], tone: Tone = "") -> Callable[[Facts, Marks, int], tuple[str, Tone]]:
    """A count; when it is not 0, in that tone."""
    return lambda facts, _marks, _now_us: (str(number(facts)), tone if number(facts) else "")


_COLUMNS: Final = (
    _Column("ROBOT", 6, 0, lambda f, _m, _n: (f.name, ""), lambda f: (len(f.name), f.name), is_number=False),
    _Column("STATE", 11, 1, _state, severity, is_number=False),
    _Column("PARTS", _BAR + 4, 2, _parts, lambda f: f.held, is_number=False),
    _Column("HEARD/S", SPARK_SECONDS, 3, lambda f, m, _n: (m.spark(f.heard), "mean"), lambda f: sum(f.heard), False),
    _Column("SENT", 5, 6, _count(lambda f: f.traffic.sent), lambda f: f.traffic.sent),
    _Column("IN", 4, 5, _arrives_in, lambda f: f.arrives_in or 0.0),
    _Column("OUT", 4, 5, _arrives_out, lambda f: f.arrives_out or 0.0),
    _Column("DROPPED", 8, 11, _count(lambda f: f.traffic.dropped, "bad"), lambda f: f.traffic.dropped),
    _Column("REPEATED", 9, 12, _count(lambda f: f.traffic.repeated), lambda f: f.traffic.repeated),
    _Column("USEFUL", 7, 9, lambda f, _m, _n: (_percent(f.useful), ""), lambda f: f.useful or 0.0),
    _Column("LIVES", 6, 4, _count(lambda f: f.lives), lambda f: f.lives),
    _Column("CRASHES", 8, 10, _count(lambda f: f.traffic.crashes, "bad"), lambda f: f.traffic.crashes),
    _Column("PRESSURE", 9, 13, _count(lambda f: f.traffic.pressed, "bad"), lambda f: f.traffic.pressed),
    _Column("LAST", 6, 7, lambda f, _m, now_us: (ago(f.traffic.last_us, now_us), ""), lambda f: -f.traffic.last_us),
    _Column("TAUGHT", 7, 8, _taught, lambda f: f.taught.sender if f.taught else "", is_number=False),
)
_SORTS: Final = tuple(column.sort for column in _COLUMNS)
