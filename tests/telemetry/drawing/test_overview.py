"""The overview as text, at the sizes of real terminals: of one scripted run, at three of its moments.

The screens stand in screens/. When the page is changed on purpose, `RENEW_SCREENS=1` draws them anew, to be read.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from telemetry.drawing.line import Size, text_of, width_of
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Chosen, Moment, Status
from telemetry.drawing.overview.page import PANELS, draw, rows
from telemetry.drawing.pages import FOOTER, screen
from telemetry.events import AnomalyBegan, FaultInjected
from tests.support.scenes import MadeScene, played

SCREENS = Path(__file__).parent / "screens"
CASES = {
    "cut-80x24": (1.5, Size(80, 24), False),
    "cut-80x24-ascii": (1.5, Size(80, 24), True),
    "cut-120x40": (1.5, Size(120, 40), False),
    "spreading-80x24": (2.1, Size(80, 24), False),
    "over-80x24": (99.0, Size(80, 24), False),
    "over-200x60": (99.0, Size(200, 60), False),
}
STALLED = ("no progress for 2.00 s: r00..r02 lack parts 0..4: nothing passes between them and the others",)


def drawn(name: str) -> str:
    since_go_s, size, is_ascii = CASES[name]
    moment = Moment(played().until(since_go_s), Status(), Chosen())
    lines = screen(moment, Size(size.width, size.height - FOOTER), Marks(is_ascii))
    return "".join(f"{text_of(each).rstrip()}\n" for each in lines)


@pytest.mark.parametrize("name", CASES)
def test_the_overview_is_drawn_as_it_was_read(name: str) -> None:
    path, text = SCREENS / f"{name}.txt", drawn(name)
    if os.environ.get("RENEW_SCREENS"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("is_ascii", [False, True])
@pytest.mark.parametrize(
    "size", [Size(80, 23), Size(109, 23), Size(110, 39), Size(179, 50), Size(180, 57), Size(300, 90)]
)
@pytest.mark.parametrize("since_go_s", [-1.0, 0.0, 0.3, 1.5, 99.0])
def test_a_page_fills_its_size_exactly(since_go_s: float, size: Size, is_ascii: bool) -> None:
    # Given any moment of the run, before `go` too
    for panel in ("", *PANELS):
        moment = Moment(played().until(since_go_s), Status(diagnosis=STALLED), Chosen(panel=panel))
        # When the screen, or one of its panels alone, is drawn
        lines = screen(moment, size, Marks(is_ascii))
        # Then it has that size, and in ASCII no other letter
        assert [width_of(each) for each in lines] == [size.width] * size.height
        assert not is_ascii or all(text_of(each).isascii() for each in lines)


def test_why_a_run_stands_still_stands_above_all_else() -> None:
    moment = Moment(played().until(1.5), Status(diagnosis=STALLED), Chosen())

    first = draw(moment, Size(80, 21), Marks())[0]

    assert "no progress for 2.00 s: r00..r02 lack parts 0..4" in text_of(first)
    assert {fragment.tone for fragment in first if fragment.text.strip()} == {"bad"}


def test_a_run_that_is_held_back_waits_for_go() -> None:
    lab = MadeScene({0: ["r00"], 1: ["r01"]}, robots=2, is_held_back=True)

    first, *others = map(text_of, draw(Moment(lab.scene, Status(), Chosen()), Size(80, 21), Marks()))

    assert first.strip() == "2 robots wait for `go`, each with some of the 2 parts of a secret."
    assert any("r00 ○ born" in each for each in others)


def test_trouble_stands_first() -> None:
    moment = Moment(played().until(1.5), Status(), Chosen())
    # Given that r05 is paused, Then it is the first row,
    assert rows(moment)[0] == "r05"
    assert sorted(rows(moment)) == sorted(moment.scene.robots)
    # and the only one of those in trouble
    assert rows(moment._replace(chosen=Chosen(is_only_trouble=True))) == ["r05"]


def test_robots_are_sorted_by_what_they_hold_or_by_name() -> None:
    scene = played().until(1.5)
    least_first = rows(Moment(scene, Status(), Chosen(sort=1)))

    held = [scene.held(robot).bit_count() for robot in least_first]
    assert held == sorted(held)
    assert rows(Moment(scene, Status(), Chosen(sort=2))) == list(scene.robots)
    assert rows(Moment(scene, Status(), Chosen(sort=2, is_reversed=True))) == list(scene.robots)[::-1]
    assert rows(Moment(scene, Status(), Chosen(sort=3))) == rows(Moment(scene, Status(), Chosen(sort=0)))


def test_a_filter_keeps_robots_by_name_and_by_state() -> None:
    scene = played().until(1.5)

    assert rows(Moment(scene, Status(), Chosen(filter="paused"))) == ["r05"]
    assert rows(Moment(scene, Status(), Chosen(filter="r1 gossip"))) == ["r10", "r11"]


def test_parts_that_do_not_fit_share_cells_and_the_page_shows_how_many() -> None:
    secret = " ".join(f"word{number}" for number in range(200))
    scene = played((("robots", "4"), ("seed", "7"), ("secret", secret))).until(0.1)

    text = "\n".join(map(text_of, draw(Moment(scene, Status(), Chosen()), Size(80, 21), Marks())))

    assert "a cell is 20 parts" in text


def test_more_robots_than_rows_follow_the_cursor() -> None:
    scene = played((("robots", "40"), ("seed", "7"))).until(0.1)
    chosen = Chosen(sort=2, cursor=39)

    text = "\n".join(map(text_of, draw(Moment(scene, Status(), chosen), Size(80, 21), Marks())))

    assert "r39" in text
    assert "r00" not in text
    assert "shown" in text


def test_what_is_injected_and_what_is_unusual_stand_at_the_top_while_all_seems_well() -> None:
    # Given a run in which one robot is killed again and again
    lab = MadeScene({0: ["r00"], 1: ["r01"]}, robots=2)
    for at_ms in (1000, 1700, 2400):
        lab.event(at_ms, "lab", FaultInjected("kill", "r01", "r01"))
    lab.event(2500, "lab", AnomalyBegan("restart storm", "r01", "3 births within 1.4 s"))
    # Then the page says so above all else
    top = " ".join(
        text_of(each).strip() for each in draw(Moment(lab.scene, Status(), Chosen()), Size(80, 21), Marks())[:3]
    )
    assert "Injected in the last 5 s: kill r01 (3 times). Unusual now: r01 (restart storm)." in top
