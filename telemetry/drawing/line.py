"""A line of styled text, and how lines are cut, padded and put together. Widths are cells of a terminal.

A tone says what a text means; which colour it gets is decided where it is painted.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

from rich.cells import cell_len, set_cell_size

Tone = Literal["", "dim", "title", "key", "good", "news", "bad", "own", "learnt", "mean", "least", "theory", "chosen"]
"""`own`: parts that a robot was dealt; `mean`, `least`, `theory`: the curves; `chosen`: the row under the cursor."""


_LETTERS: Final = {"…": "~", "−": "-", "·": ".", "×": "x", "→": ">", "–": "-"}  # in ASCII


class Fragment(NamedTuple):
    """A text in one tone."""

    text: str
    tone: Tone = ""


Line = tuple[Fragment, ...]
EMPTY: Final[Line] = ()


class Size(NamedTuple):
    """Of a page or a panel, in cells."""

    width: int
    height: int


def line(*fragments: Fragment | str) -> Line:
    """A line of these fragments; a bare text has no tone."""
    return tuple(Fragment(each) if isinstance(each, str) else each for each in fragments)


def text_of(drawn: Line) -> str:
    """The line without its tones."""
    return "".join(fragment.text for fragment in drawn)


def width_of(drawn: Line) -> int:
    """Its width."""
    return sum(cells_of(fragment.text) for fragment in drawn)


def cells_of(text: str) -> int:
    """The cells that a text takes."""
    return len(text) if text.isascii() else cell_len(text)


def fitted(drawn: Line, width: int) -> Line:
    """The line at exactly this width: padded with blanks, or cut, with `…` in the last cell."""
    has = width_of(drawn)
    if has <= width:
        return drawn if has == width else (*drawn, Fragment(" " * (width - has)))
    if width <= 0:
        return EMPTY
    left, kept = width - 1, []
    for fragment in drawn:
        if left <= 0:
            break
        size = cells_of(fragment.text)
        kept.append(fragment if size <= left else Fragment(set_cell_size(fragment.text, left), fragment.tone))
        left -= size
    return (*kept, Fragment("…", "dim"))


def in_ascii(drawn: Line) -> Line:
    """The line in ASCII alone, at the same width: other letters, such as those of a name from outside, become `?`."""
    return tuple(
        fragment if fragment.text.isascii() else Fragment(_ascii(fragment.text), fragment.tone) for fragment in drawn
    )


def _ascii(text: str) -> str:
    return "".join(letter if letter.isascii() else _LETTERS.get(letter, "?" * cell_len(letter)) for letter in text)


def toned(drawn: Line, tone: Tone) -> Line:
    """The line in one tone."""
    return tuple(Fragment(fragment.text, tone) for fragment in drawn)


def wrapped(text: str, width: int, most: int = 3) -> list[str]:
    """The text in lines of this width, at most so many, cut between words where it can be."""
    return textwrap.wrap(text, max(width, 1), max_lines=most, placeholder="…") or [""]


def block(lines: Iterable[Line], size: Size) -> list[Line]:
    """Exactly the lines of a panel: cut, or filled up, in both directions."""
    kept = [fitted(each, size.width) for _, each in zip(range(size.height), lines, strict=False)]
    return kept + [fitted(EMPTY, size.width)] * (size.height - len(kept))


def beside(left: Sequence[Line], right: Sequence[Line], gap: str = " │ ") -> list[Line]:
    """Two blocks of equal height, side by side."""
    return [(*one, Fragment(gap, "dim"), *other) for one, other in zip(left, right, strict=True)]


def headed(title: Line, lines: Iterable[Line], size: Size) -> list[Line]:
    """A panel: its title, and below it what fits of its lines."""
    return block([title, *lines], size)


def scrolled(lines: Sequence[Line], cursor: int, height: int) -> tuple[list[Line], int]:
    """As many of the lines as fit, so that the one under the cursor is among them, in its own tone; and the number of
    the first. The cursor stays near the middle."""
    shown = visible(len(lines), cursor, height)
    return under_cursor(lines[shown.start : shown.stop], cursor - shown.start), shown.start


def visible(rows: int, cursor: int, height: int) -> range:
    """Which of so many rows are shown, for those who draw no others."""
    first = max(0, min(cursor - height // 2, rows - height))
    return range(first, min(rows, first + height))


def under_cursor(lines: Sequence[Line], cursor: int) -> list[Line]:
    """The lines, and the one under the cursor in its own tone."""
    return [toned(each, "chosen") if row == cursor else each for row, each in enumerate(lines)]
