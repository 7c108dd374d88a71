"""The pages of robots, supervision and events, letter by letter, at the three sizes and in ASCII."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from telemetry.drawing.line import in_ascii, text_of
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Chosen, Moment, Page, Status
from telemetry.drawing.pages import screen
from tests.support.golden import assert_golden
from tests.telemetry.drawing.simulated import SIZES, page_text, scene_at

GOLDEN = Path(__file__).parent / "golden"
SHOWN: dict[str, tuple[Page, dict[str, Any]]] = {
    "robots": ("robots", {"sort": 1, "cursor": 2}),
    "robots-trouble": ("robots", {"is_only_trouble": True}),
    "robot-parts": ("robots", {"robot": "r04", "tab": 0}),
    "robot-traffic": ("robots", {"robot": "r04", "tab": 1}),
    "robot-lives": ("robots", {"robot": "r02", "tab": 3}),
    "supervision": ("supervision", {"cursor": 5}),
    "supervision-all": ("supervision", {"tab": 2, "cursor": 20}),
    "events": ("events", {}),
    "events-trouble": ("events", {"is_only_trouble": True, "filter": "!fates.*"}),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SHOWN)
def test_a_page_is_as_it_was(name: str, size: str) -> None:
    # Given a run with chaos, 1.3 s after go
    page, chosen = SHOWN[name]
    # Then its page is that of the file
    assert_golden(GOLDEN / f"{name}-{size}.txt", page_text(scene_at(1300), size, page=page, **chosen))


@pytest.mark.parametrize("name", ["robots", "robot-parts", "supervision", "events"])
def test_a_page_in_ascii_is_as_it_was(name: str) -> None:
    # Given the same run, for a terminal that draws ASCII alone
    page, chosen = SHOWN[name]
    moment = Moment(scene_at(1300), Status(), Chosen(page=page, **chosen))
    # When the whole screen is drawn
    lines = screen(moment, SIZES["80x24"]._replace(height=23), Marks(is_ascii=True))
    # Then no other letter is in it
    assert all(text_of(drawn).isascii() for drawn in lines)
    drawn = "\n".join(text_of(in_ascii(each)) for each in lines[2:])
    assert_golden(GOLDEN / f"{name}-ascii.txt", drawn)
