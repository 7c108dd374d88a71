"""Paints drawn lines into Textual: the one place where a tone gets its colours, and where no control character passes.

The colours can be told apart with each kind of colour blindness (Okabe and Ito, 2008); no meaning rests on them alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from telemetry.console import harmless
from telemetry.drawing.line import EMPTY, Line, Tone

_STYLES: Final[dict[Tone, Style]] = {
    "": Style.null(),
    "dim": Style(dim=True),
    "title": Style(bold=True),
    "key": Style(bold=True, color="#56B4E9"),
    "good": Style(color="#56B4E9"),
    "news": Style(color="#E69F00"),
    "bad": Style(color="#D55E00", bold=True),
    "own": Style(color="#56B4E9"),
    "learnt": Style(color="#E69F00"),
    "mean": Style(color="#56B4E9"),
    "least": Style(color="#D55E00"),
    "theory": Style(color="#CC79A7"),
    "chosen": Style(reverse=True),
}


class Painting(Widget):
    """Shows lines, and repaints those that changed."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  Textual's own name
        super().__init__(id=id)
        self._lines: Sequence[Line] = ()

    @property
    def lines(self) -> Sequence[Line]:
        """What is shown."""
        return self._lines

    def show(self, lines: Sequence[Line]) -> None:
        """Show these."""
        before, self._lines = self._lines, lines
        width, height = self.size
        changed = [y for y in range(height) if _at(before, y) != _at(lines, y)]
        if changed:
            self.refresh(*(Region(0, y, width, 1) for y in changed))

    def render_line(self, y: int) -> Strip:
        """Textual's line interface."""
        fragments = _at(self._lines, y)
        strip = Strip([Segment(harmless(fragment.text), _STYLES[fragment.tone]) for fragment in fragments])
        return strip.adjust_cell_length(self.size.width, _STYLES[""])


def _at(lines: Sequence[Line], y: int) -> Line:
    return lines[y] if y < len(lines) else EMPTY
