"""All pages by name, and how a whole screen is put together: header, page, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from telemetry.drawing import overview
from telemetry.drawing.header import header
from telemetry.drawing.line import Line, Size, block
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Moment, Page


class PageDrawing(NamedTuple):
    """`draw` gives the lines of a page; `rows`: what its cursor moves over, in order."""

    draw: Callable[[Moment, Size, Marks], list[Line]]
    rows: Callable[[Moment], Sequence[str]]


PAGES: Final[dict[Page, PageDrawing]] = {
    "overview": PageDrawing(overview.draw, overview.rows),
}

SMALLEST: Final = Size(80, 24)
FOOTER: Final = 1  # lines that the app needs below


def screen(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    """The lines of the whole screen, without the app's footer."""
    top = header(moment)
    page = PAGES[moment.chosen.page].draw(moment, Size(size.width, size.height - len(top)), marks)
    return [marks.drawable(each) for each in block([*top, *page], size)]
