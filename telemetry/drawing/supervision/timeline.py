"""The lines of processes over time: one letter a cell, and of what happened within a cell, the worst shows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from telemetry.drawing.curve import axis
from telemetry.drawing.line import Fragment, Line, Tone
from telemetry.drawing.marks import Marks
from telemetry.scene.processes.lifelines import Remark
from telemetry.scene.processes.stretches import Condition, Stretch
from telemetry.scene.scene import Scene

_Letter = tuple[str, str, Tone]  # in Unicode, in ASCII
_LETTERS: Final[dict[Condition, _Letter]] = {
    "dead": ("✝", "X", "bad"),
    "down": ("×", "x", "bad"),
    "waiting": ("…", "w", "bad"),
    "paused": ("‖", '"', "bad"),
    "up": ("─", "-", "news"),
    "complete": ("━", "=", "good"),
    "left": (" ", " ", "dim"),
}
"""The worst first."""

_WORST: Final = {condition: place for place, condition in enumerate(_LETTERS)}
_WORDS: Final[dict[Condition, str]] = {
    "up": "lives",
    "complete": "complete",
    "down": "down",
    "paused": "paused",
    "waiting": "waits",
    "dead": "dead",
}
_BEFORE_GO_US: Final = 1_000_000
_TICKS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)  # seconds between names on the axis


class TimeRange(NamedTuple):
    """What a timeline shows, in microseconds of the wall clock."""

    from_us: int
    until_us: int


def span_of(scene: Scene) -> TimeRange:
    """The whole run so far, from the deal on; of the time before `go`, in which a run may be held back, a tenth."""
    from_us = scene.view.dealt_us or scene.go_us or scene.now_us
    if scene.go_us is not None:
        from_us = max(from_us, scene.go_us - max(_BEFORE_GO_US, (scene.now_us - scene.go_us) // 10))
    return TimeRange(from_us, max(scene.now_us, from_us + 1))


def timeline(stretches: Sequence[Stretch], notes: Sequence[Remark], span: TimeRange, width: int, marks: Marks) -> Line:
    """A process in so many cells."""
    cells: list[Condition | None] = [None] * width
    for place, stretch in enumerate(stretches):
        until_us = stretches[place + 1].from_us if place + 1 < len(stretches) else span.until_us
        if stretch.from_us == until_us and place + 1 < len(stretches):
            continue
        first = max(0, _cell(stretch.from_us, span, width))
        last = min(width - 1, _cell(max(stretch.from_us, until_us - 1), span, width))
        if first <= last:
            cells[first] = _shown(cells[first], stretch.condition)  # all that came before ends here at the latest
            cells[first + 1 : last + 1] = [stretch.condition] * (last - first)
    noted = {_cell(note.at_us, span, width) for note in notes}
    return _fragments(cells, noted, marks)


def time_axis(scene: Scene, span: TimeRange, width: int) -> Line:
    """Seconds after go below a timeline; before go is given, nothing."""
    if scene.go_us is None:
        return axis([], width)
    length_us = span.until_us - span.from_us
    step_s = next((step for step in _TICKS if length_us / (step * 1e6) <= width / 9), _TICKS[-1])
    marks_at, second = [(_share(scene.go_us, span), "go")], step_s
    while scene.go_us + second * 1_000_000 <= span.until_us:
        marks_at.append((_share(scene.go_us + second * 1_000_000, span), f"{second}s"))
        second += step_s
    return axis(marks_at, width)


def legend(marks: Marks) -> Line:
    """What the letters mean."""
    fragments: list[Fragment] = []
    for condition, word in _WORDS.items():
        letter, tone = _letter(condition, marks)
        fragments += [Fragment(letter, tone), Fragment(f" {word}  ", "dim")]
    return (*fragments, Fragment("!", "bad"), Fragment(" injected, or a crash", "dim"))


def _cell(at_us: int, span: TimeRange, width: int) -> int:
    return (at_us - span.from_us) * width // (span.until_us - span.from_us)


def _share(at_us: int, span: TimeRange) -> float:
    return (at_us - span.from_us) / (span.until_us - span.from_us)


def _shown(before: Condition | None, condition: Condition) -> Condition:
    """The worse of both; of two good ones the later."""
    if before is None or _WORST[condition] < _WORST[before] or _WORST[before] >= _WORST["up"]:
        return condition
    return before


def _letter(condition: Condition | None, marks: Marks) -> tuple[str, Tone]:
    if condition is None:
        return " ", ""
    unicode, ascii_letter, tone = _LETTERS[condition]
    return (ascii_letter if marks.is_ascii else unicode), tone


def _fragments(cells: Sequence[Condition | None], noted: Collection[int], marks: Marks) -> Line:
    """Equal neighbours as one fragment; a note shows in a process that lives."""
    fragments: list[Fragment] = []
    for (condition, is_noted), same in groupby(enumerate(cells), key=lambda each: (each[1], each[0] in noted)):
        letter, tone = _letter(condition, marks)
        if is_noted and condition in ("up", "complete"):
            letter, tone = "!", "bad"
        fragments.append(Fragment(letter * sum(1 for _ in same), tone))
    return tuple(fragments)
