"""Scenes of a simulated run with chaos, the same each time, at any moment of it; and pages as text. No tests here."""

from __future__ import annotations

from functools import cache

from telemetry.drawing.line import Size, text_of, width_of
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Chosen, Moment, Page, Status
from telemetry.drawing.pages import PAGES
from telemetry.events import Stamped
from telemetry.scene.scene import Scene
from tests.telemetry.tracing.simulated import history

SIZES = {"80x24": Size(80, 21), "120x40": Size(120, 37), "200x60": Size(200, 57)}
"""By the terminal's size, the room that a page has in it, below the header and above the footer."""


@cache
def scene_at(after_go_ms: int) -> Scene:
    """Twelve robots with two relays, on a network that loses a fifth; robots, relays and workers die."""
    run = history("lossy", 7, robots=12, has_chaos=True, relays=2)
    scene = Scene(run.settings, run.dealt)
    for stamped in sorted(run.events, key=_at):
        if scene.go_us is not None and stamped.wall_us > scene.go_us + after_go_ms * 1000:
            break
        scene.handle(stamped)
    return scene


def page_text(scene: Scene, size: str, is_ascii: bool = False, page: Page = "robots", **chosen: object) -> str:
    """A page as text; every line has the page's width."""
    moment = Moment(scene, Status(), Chosen(page=page, **chosen))  # type: ignore[arg-type]
    room = SIZES[size]
    lines = PAGES[page].draw(moment, room, Marks(is_ascii))
    assert {width_of(drawn) for drawn in lines} == {room.width}
    assert len(lines) == room.height
    return "\n".join(map(text_of, lines))


def _at(stamped: Stamped) -> int:
    return stamped.wall_us
