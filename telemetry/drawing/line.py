"""A line of styled text, and how lines are cut, padded and put together. Widths are cells of a terminal.

A tone says what a text means; which colour it gets is decided where it is painted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

from rich.cells import cell_len, set_cell_size

Tone = Literal["", "dim", "title", "key", "good", "news", "bad", "own", "learnt", "mean", "least", "theory", "chosen"]
"""`own`: parts that a robot was dealt; `mean`, `least`, `theory`: the curves; `chosen`: the row under the cursor."""


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
    return sum(cell_len(fragment.text) for fragment in drawn)


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
        size = cell_len(fragment.text)
        kept.append(fragment if size <= left else Fragment(set_cell_size(fragment.text, left), fragment.tone))
        left -= size
    return (*kept, Fragment("…", "dim"))


def in_ascii(drawn: Line) -> Line:
    """The line in ASCII alone, at the same width: other letters, such as those of a name from outside, become `?`."""
    return tuple(
        fragment if fragment.text.isascii() else Fragment(_ascii(fragment.text), fragment.tone) for fragment in drawn
    )


def _ascii(text: str) -> str:
    return "".join(letter if letter.isascii() else "~" if letter == "…" else "?" * cell_len(letter) for letter in text)


def toned(drawn: Line, tone: Tone) -> Line:
    """The line in one tone."""
    return tuple(Fragment(fragment.text, tone) for fragment in drawn)


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
    first = max(0, min(cursor - height // 2, len(lines) - height))
    shown = list(lines[first : first + height])
    if 0 <= cursor - first < len(shown):
        shown[cursor - first] = toned(shown[cursor - first], "chosen")
    return shown, first
