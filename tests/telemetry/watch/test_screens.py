"""Whole screens of one recorded run as text, each compared with the file in `screens/` that a person has looked at.

When a page is changed on purpose: `RENEW_SCREENS=1 pytest tests/telemetry/watch/test_screens.py`, then look at the
difference.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from telemetry.drawing.help import help_sheets
from telemetry.drawing.keys import footer
from telemetry.drawing.line import Line, Size, text_of, width_of
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Chosen, Moment, Page, Status
from telemetry.drawing.pages import FOOTER, PAGES, offered, screen
from tests.telemetry.watch.recordings import recorded, replayed

FILES = Path(__file__).parent / "screens"
SIZES = [Size(80, 24), Size(120, 40), Size(200, 60)]
AT_US = 1_400_000  # since the first event: robots have died, and one has lost its journal


def moment_of(page: Page, **chosen: object) -> Moment:
    """A moment in the middle of a stormy run."""
    replay = replayed(recorded())
    replay.seek(AT_US)
    status = Status(result=recorded().result if page == "verdict" else None, secret=recorded().secret, cost=0.031)
    return Moment(replay.scene, status, Chosen(page=page, **chosen))  # type: ignore[arg-type]


def drawn(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    """All that a terminal shows."""
    above = screen(moment, Size(size.width, size.height - FOOTER), marks)
    return [*above, footer(moment, offered(moment.status), size.width)]


def assert_as_in(name: str, lines: list[Line]) -> None:
    text = "".join(f"{text_of(each).rstrip()}\n" for each in lines)
    path = FILES / f"{name}.txt"
    if os.environ.get("RENEW_SCREENS"):
        FILES.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size.width}x{size.height}")
@pytest.mark.parametrize("page", list(PAGES))
def test_a_page_is_as_it_was_kept(page: Page, size: Size) -> None:
    lines = drawn(moment_of(page), size, Marks())

    assert [width_of(each) for each in lines] == [size.width] * size.height
    assert_as_in(f"{page}-{size.width}x{size.height}", lines)


@pytest.mark.parametrize("page", list(PAGES))
def test_a_page_in_ascii_is_as_it_was_kept(page: Page) -> None:
    lines = drawn(moment_of(page), SIZES[0], Marks(is_ascii=True))

    assert "".join(map(text_of, lines)).isascii()
    assert_as_in(f"{page}-ascii", lines)


def test_a_robot_in_detail_is_as_it_was_kept() -> None:
    assert_as_in("robot-80x24", drawn(moment_of("robots", robot="r02"), SIZES[0], Marks()))


@pytest.mark.parametrize("number", [1, 2])
def test_a_sheet_of_the_help_is_as_it_was_kept(number: int) -> None:
    sheets = help_sheets(Size(80, 23), Marks())

    assert len(sheets) == 2
    assert_as_in(f"help-{number}", sheets[number - 1])


@pytest.mark.parametrize("page", list(PAGES))
def test_without_colours_each_state_of_a_robot_is_still_a_mark_and_a_word(page: Page) -> None:
    # Given a page as text alone
    marks = Marks()
    for each in drawn(moment_of(page), SIZES[1], marks):
        for fragment in each:
            word = fragment.text.strip().partition(" ")[2].strip()
            # When a part of it names a state in a colour
            if fragment.tone in ("good", "bad", "news") and word in marks.states:
                # Then its mark stands before the word
                assert fragment.text.strip().startswith(marks.states[word].strip())  # type: ignore[index]


@pytest.mark.parametrize("page", list(PAGES))
def test_gaps_and_a_view_that_is_held_are_seen_on_the_narrowest_screen(page: Page) -> None:
    scene, status, chosen = moment_of(page, is_paused=True, behind=12_345)
    moment = Moment(scene, replace(status, missed=678, mode="live"), chosen)

    first = text_of(drawn(moment, SIZES[0], Marks())[0])
    assert "VIEW PAUSED, 12345 events wait" in first
    assert "GAP 678" in first


def test_a_replay_shows_where_it_is_and_how_long_it_is() -> None:
    replay = replayed(recorded(), speed=0.5)
    replay.seek(1_500_000)
    first = text_of(screen(Moment(replay.scene, replay.status, Chosen()), SIZES[0], Marks())[0])

    assert re.search(r"REPLAY 1\.\d s of 3\.\d s 0\.5x", first)
