"""The help: all keys by group, and what the marks and words mean, in columns, on as many sheets as it takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from telemetry.drawing.keys import GROUPS, HARM, KEYS
from telemetry.drawing.line import Fragment, Line, Size, beside, block, line
from telemetry.drawing.marks import TONES, Marks
from telemetry.scene.states import State

COLUMN: Final = 38  # cells of a column, at least
_KEY: Final = 8
_STATE: Final = 11

STATES: Final[dict[State, str]] = {
    "gossiping": "learns from others",
    "complete": "holds all parts",
    "quiet": "and no news for a while",
    "passive": "complete, mostly answers",
    "wrote": "wrote the secret, once",
    "paused": "its process is stopped",
    "waiting": "no RQ worker is free",
    "cut off": "a fault lets nothing by",
    "dead": "it will not live again",
    "away": "died; its next life comes",
    "stuck": "learns nothing any more",
    "left": "ended in order",
    "unborn": "not born yet",
    "born": "waits for go",
}
WORDS: Final[dict[str, str]] = {
    "part": "one word of the secret",
    "life": "r03/2: its 2nd process",
    "tick": "how often one gossips",
    "go": "starts the gossip",
    "relay": "carries envelopes",
    "HELD": "the record proves it",
    "BROKEN": "it shows the contrary",
    "UNPROVEN": "it cannot tell",
    "GAP": "events that never came",
}


def help_sheets(size: Size, marks: Marks) -> list[list[Line]]:
    """The sheets, each the lines of a page of this size."""
    across = max(1, (size.width + len(marks.divider)) // (COLUMN + len(marks.divider)))
    column = Size((size.width - len(marks.divider) * (across - 1)) // across, size.height - 1)
    columns = [
        *_in_columns(_keys(), column.height),
        *_in_columns(_legend(marks), column.height),
    ]
    sheets = [columns[first : first + across] for first in range(0, len(columns), across)]
    return [
        block([*_side_by_side(each, column, marks), _last_line(number, len(sheets))], size)
        for number, each in enumerate(sheets, start=1)
    ]


def _side_by_side(columns: list[list[Line]], column: Size, marks: Marks) -> list[Line]:
    drawn = block(columns[0], column)
    for each in columns[1:]:
        drawn = beside(drawn, block(each, column), marks.divider)
    return drawn


def _last_line(number: int, sheets: int) -> Line:
    more = f" sheet {number} of {sheets}: ? shows the next one, esc closes" if sheets > 1 else " ? or esc closes"
    return line(Fragment(more, "dim"))


def _in_columns(groups: Iterable[list[Line]], height: int) -> list[list[Line]]:
    """The groups, one below the other, in columns of that height. A group is parted only when a column cannot hold
    it."""
    columns: list[list[Line]] = [[]]
    for group in groups:
        if len(columns[-1]) + len(group) > height:
            columns.append([])
        for each in group:
            if len(columns[-1]) == height:
                columns.append([])
            columns[-1].append(each)
    return [column for column in columns if column]


def _keys() -> Iterator[list[Line]]:
    for group, title in GROUPS.items():
        keys = [(key.shown, key.both or key.text) for key in KEYS if key.group == group and key.shown]
        lines = [line(Fragment(f" {shown:<{_KEY}}", "key"), text) for shown, text in (*keys, *HARM * (group == "harm"))]
        yield [line(Fragment(title, "title")), *lines]


def _legend(marks: Marks) -> Iterator[list[Line]]:
    states = [
        line(Fragment(f"{marks.states[state]} {state:<{_STATE}}", TONES[state]), meaning)
        for state, meaning in STATES.items()
    ]
    yield [line(Fragment("A ROBOT IS", "title")), *states]
    words = [line(Fragment(f"{word:<{_STATE + 2}}", "key"), meaning) for word, meaning in WORDS.items()]
    yield [line(Fragment("WORDS", "title")), *words]
