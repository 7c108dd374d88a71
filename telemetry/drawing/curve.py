"""Curves in braille: two columns and four rows of dots in each cell, several curves in one picture, in their tones.

Braille patterns: Unicode 15, chapter 21.1; the dots of a cell are numbered 1-3, 7 down its left column and 4-6, 8 down
its right one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from telemetry.drawing.line import Fragment, Line, Size, Tone
from telemetry.drawing.marks import Marks

Point = tuple[float, float]
"""Across and up, both 0..1."""

_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BLANK: Final = 0x2800
LETTERS: Final[dict[Tone, str]] = {"mean": "m", "least": "l", "theory": "t"}
"""By the tone of a curve: what it is drawn with in ASCII, and what stands at its end."""


class Picture:
    """Dots on a page of cells; of the tones that meet in a cell, the last that was drawn shows."""

    def __init__(self, size: Size) -> None:
        self._size = size
        self._cells: dict[tuple[int, int], tuple[int, Tone]] = {}
        self._letters: dict[tuple[int, int], Tone] = {}
        self._drawn: dict[int, set[int]] = {}  # by row, the columns in which there is something

    def draw(self, points: Iterable[Point], tone: Tone) -> None:
        """Draw the steps through these points, from left to right."""
        columns, rows = self._size.width * 2, self._size.height * 4
        last: int | None = None
        end = 0
        for column, height in _by_column(points, columns).items():
            row = rows - 1 - round(height * (rows - 1))
            rising = range(min(row, row if last is None else last), max(row, row if last is None else last) + 1)
            for each in rising:
                self._dot(column, each, tone)
            last, end = row, column
        if last is not None:
            self._mark(last // 4, end // 2, tone)

    def _mark(self, row: int, column: int, tone: Tone) -> None:
        """Put a curve's letter at its end, or below it where that of another stands."""
        while (row, column) in self._letters and row < self._size.height - 1:
            row += 1
        self._letters.setdefault((row, column), tone)
        self._drawn.setdefault(row, set()).add(column)

    def lines(self, marks: Marks) -> list[Line]:
        """The picture."""
        return [self._line(row, marks) for row in range(self._size.height)]

    def _line(self, row: int, marks: Marks) -> Line:
        """The cells of a row, those of one tone together."""
        fragments: list[Fragment] = []
        end = 0
        for column in sorted(self._drawn.get(row, ())):
            text, tone = self._cell(row, column, marks)
            if column > end:
                fragments.append(Fragment(" " * (column - end)))
            if fragments and fragments[-1].tone == tone:
                fragments[-1] = Fragment(fragments[-1].text + text, tone)
            else:
                fragments.append(Fragment(text, tone))
            end = column + 1
        return (*fragments, Fragment(" " * (self._size.width - end)))

    def _dot(self, column: int, row: int, tone: Tone) -> None:
        place = row // 4, column // 2
        bits, _ = self._cells.get(place, (0, ""))
        self._cells[place] = bits | _DOTS[row % 4][column % 2], tone
        self._drawn.setdefault(place[0], set()).add(place[1])

    def _cell(self, row: int, column: int, marks: Marks) -> Fragment:
        letter = self._letters.get((row, column))
        if letter is not None:
            return Fragment(LETTERS.get(letter, "*"), letter)
        bits, tone = self._cells[row, column]
        return Fragment(LETTERS.get(tone, "*") if marks.is_ascii else chr(_BLANK | bits), tone)


def _by_column(points: Iterable[Point], columns: int) -> Mapping[int, float]:
    """The height at each column of dots between the first point and the last; it stays until the next point."""
    heights: dict[int, float] = {}
    for across, up in points:
        heights[min(columns - 1, max(0, round(across * (columns - 1))))] = min(1.0, max(0.0, up))
    filled: dict[int, float] = {}
    if heights:
        height = heights[min(heights)]
        for column in range(min(heights), max(heights) + 1):
            height = heights.get(column, height)
            filled[column] = height
    return filled


def axis(marks_at: Sequence[tuple[float, str]], width: int) -> Line:
    """Names below a picture, each centred at its place (0..1); one that would touch another is left out."""
    letters, free = [" "] * width, 0
    for across, name in marks_at:
        start = min(max(0, round(across * (width - 1)) - len(name) // 2), max(0, width - len(name)))
        if start >= free:
            letters[start : start + len(name)] = name
            free = start + len(name) + 1
    return (Fragment("".join(letters[:width]), "dim"),)
