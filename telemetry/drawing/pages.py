"""All pages by name, and how a whole screen is put together: header, page, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from telemetry.drawing import verdict
from telemetry.drawing.events import page as events
from telemetry.drawing.faults import page as faults
from telemetry.drawing.header import header
from telemetry.drawing.keys import PAGE_WORDS
from telemetry.drawing.line import Line, Size, block, in_ascii
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Moment, Page, Status
from telemetry.drawing.overview import page as overview
from telemetry.drawing.robots import page as robots
from telemetry.drawing.supervision import page as supervision


class PageDrawing(NamedTuple):
    """`draw` gives the lines of a page; `rows`: what its cursor moves over, in order; `panels`: those of its parts that
    may fill the page."""

    draw: Callable[[Moment, Size, Marks], list[Line]]
    rows: Callable[[Moment], Sequence[str]]
    panels: Sequence[str] = ()


PAGES: Final[dict[Page, PageDrawing]] = {
    "overview": PageDrawing(overview.draw, overview.rows, overview.PANELS),
    "robots": PageDrawing(robots.draw, robots.rows),
    "faults": PageDrawing(faults.draw, faults.rows),
    "supervision": PageDrawing(supervision.draw, supervision.rows),
    "events": PageDrawing(events.draw, events.rows),
    "verdict": PageDrawing(verdict.draw, verdict.rows),
}

SMALLEST: Final = Size(80, 24)
FOOTER: Final = 1  # lines that the app needs below


def offered(status: Status) -> list[Page]:
    """The pages that can be shown now, in order: the verdict only when there is one."""
    return [page for page in PAGE_WORDS if page in PAGES and (page != "verdict" or status.result is not None)]


def screen(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    """The lines of the whole screen, without the app's footer."""
    top = header(moment)
    page = PAGES[moment.chosen.page].draw(moment, Size(size.width, size.height - len(top)), marks)
    lines = block([*top, *page], size)
    return [in_ascii(each) for each in lines] if marks.is_ascii else lines
