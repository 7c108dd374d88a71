"""The app on its terminal: mouse, sizes, colours, errors of ours, and what a key costs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import cache

import pytest
from msgspec.structs import replace
from textual.filter import Monochrome

from telemetry.drawing.line import Line, Size, line, scrolled
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Chosen, Moment, Status
from telemetry.drawing.pages import PAGES, PageDrawing, screen
from telemetry.scene.scene import Scene
from telemetry.watch.app import CRASHED, WatchApp, run_app
from tests.telemetry.watch.recordings import empty, recorded, replayed
from tests.telemetry.watch.stages import LiveRun, Person, watch


@cache
def scenes() -> list[Scene | None]:
    """Before the first event, in the middle, and of a run without any."""
    return [live(0).scene, live(400).scene, Scene(empty().settings, ())]


def nothing(moment: Moment) -> Sequence[str]:
    return []


def listed(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    names = moment.scene.robots
    return [line("LIST"), *scrolled([line(f"  {name} is a robot") for name in names], moment.chosen.cursor, 20)[0]]


def live(events: int = 400) -> LiveRun:
    return LiveRun(recorded(), events)


def test_a_click_chooses_the_row_and_two_go_into_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PAGES, "robots", PageDrawing(listed, lambda moment: moment.scene.robots))
    app = WatchApp(live(), None, Marks())

    async def run() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.press("2")
            place = next(number for number, each in enumerate(app.shown) if "r03 is" in each[0].text)
            # On the name, and beside it
            await pilot.click(offset=(3, place))
            await pilot.pause()
            assert app.row == "r03"
            await pilot.click(offset=(60, place - 1))
            await pilot.pause()
            assert app.row == "r02"
            # Elsewhere nothing happens
            await pilot.click(offset=(60, 23))
            await pilot.pause()
            assert app.row == "r02"
            await pilot.double_click(offset=(3, place))
            await pilot.pause()
            assert app.chosen.robot == "r03"

    asyncio.run(run())


def test_the_wheel_moves_the_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PAGES, "robots", PageDrawing(listed, lambda moment: moment.scene.robots))

    async def story(person: Person) -> None:
        await person.press("2")
        person.app.on_mouse_scroll_down()
        assert person.app.chosen.cursor == 3
        person.app.on_mouse_scroll_up()
        assert person.app.chosen.cursor == 0

    watch(live(), story)


@pytest.mark.parametrize("size", [(79, 24), (80, 23), (20, 5), (3, 2)])
def test_a_terminal_that_is_too_small_gets_a_word_instead(size: tuple[int, int]) -> None:
    async def story(person: Person) -> None:
        assert person.screen.startswith(f"need 80x24, have {size[0]}x{size[1]}")
        await person.press("question_mark", "j", "6", "w")

    watch(live(), story, size=size)


def test_the_page_follows_the_size_of_the_terminal() -> None:
    app = WatchApp(live(), None, Marks())

    async def run() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            for width, height in ((120, 40), (60, 20), (200, 60), (80, 24)):
                await pilot.resize_terminal(width, height)
                await pilot.pause()
                await pilot.pause()
                if width == 60:
                    assert "need 80x24" in app.shown[0][0].text
                else:
                    assert len(app.shown) == height

    asyncio.run(run())


def test_nothing_is_lost_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a person who wants no colours
    monkeypatch.setenv("NO_COLOR", "1")
    stage = live()
    stage.end()

    async def story(person: Person) -> None:
        assert any(isinstance(each, Monochrome) for each in person.app._filters)
        await person.press("6")
        # Then every state is a mark and a word
        for state in ("✗ BROKEN", "? UNPROVEN", "○ not tested", "✓ HELD"):
            assert state in person.screen

    watch(stage, story, size=(120, 40))


def test_what_the_terminal_gets_is_what_was_drawn() -> None:
    async def story(person: Person) -> None:
        strips = person.app.screen._compositor.render_strips()
        assert [strip.text.rstrip() for strip in strips] == person.screen.split("\n")

    watch(live(), story, size=(120, 40))


def test_texts_from_outside_reach_no_terminal_raw() -> None:
    evil = "\x1b]0;owned\x07\x9b31m"
    recording = replace(recorded(), secret=evil)
    stage = LiveRun(recording, 400)
    stage.end()

    async def story(person: Person) -> None:
        await person.press("6")
        strips = person.app.screen._compositor.render_strips()
        assert all(strip.text.isprintable() for strip in strips)
        assert "owned" in "".join(strip.text for strip in strips)

    watch(stage, story)


@pytest.mark.parametrize("make", [lambda: live(0), lambda: LiveRun(empty()), lambda: replayed(empty())])
def test_every_page_stands_before_go_and_in_an_empty_run(make: Callable[[], LiveRun]) -> None:
    async def story(person: Person) -> None:
        for page in "12345":
            await person.press(page, "G", "enter", "right_square_bracket", "n", "c", "m", "s", "S", "o", "escape")

    watch(make(), story)


def test_a_run_that_is_not_known_yet_is_waited_for() -> None:
    stage = live()
    stage.scene = None

    async def story(person: Person) -> None:
        assert "the run begins" in person.screen
        await person.press("2", "j", "enter", "c", "space", "m", "n", "question_mark", "w")

    watch(stage, story)


@pytest.mark.parametrize("page", list(PAGES))
@pytest.mark.parametrize("cursor", [-5, 0, 3, 10**9])
def test_every_page_stands_a_cursor_a_robot_and_a_panel_that_are_not_there(page: str, cursor: int) -> None:
    for scene in scenes():
        for status in (Status(), Status(mode="replay", result=recorded().result, secret="x")):
            for robot in ("", "r99"):
                chosen = Chosen(
                    page=page,  # type: ignore[arg-type]
                    cursor=cursor,
                    robot=robot,
                    tab=50,
                    panel="gone",
                    filter="((",
                    sort=99,
                    is_only_trouble=True,
                )
                assert scene is not None
                moment = Moment(scene, status, chosen)
                PAGES[moment.chosen.page].rows(moment)
                assert len(screen(moment, Size(80, 23), Marks())) == 23


def test_an_error_of_ours_ends_the_app_with_a_plain_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given a page that fails
    def broken(moment: Moment, size: Size, marks: Marks) -> list[Line]:
        raise ZeroDivisionError("this page cannot be drawn")

    monkeypatch.setitem(PAGES, "events", PageDrawing(broken, nothing))
    stage = live()
    app = WatchApp(stage, None, Marks())

    async def press(pilot: object) -> None:
        await pilot.press("5")  # type: ignore[attr-defined]

    real_run = app.run
    monkeypatch.setattr(app, "run", lambda: real_run(headless=True, auto_pilot=press, size=(80, 24)))
    # When it is shown, then the app ends with an exit code of its own, and its stage too
    assert run_app(app) == CRASHED
    assert stage.is_closed
    # And the whole traceback is printed, without colours
    printed = capsys.readouterr().err
    assert printed.startswith("Traceback (most recent call last):")
    assert printed.endswith("ZeroDivisionError: this page cannot be drawn\n")
    assert "\x1b" not in printed


def test_a_key_is_on_the_screen_within_a_tenth_of_a_second() -> None:
    recording = recorded("lossy", 3, robots=40, has_chaos=False)
    stage = LiveRun(recording, len(recording.events))
    took = []

    async def story(person: Person) -> None:
        for key in ("j", "j", "k", "m", "1", "question_mark", "escape"):
            begun = time.process_time()
            await person.press(key)
            took.append(time.process_time() - begun)

    watch(stage, story, size=(200, 60))
    assert sorted(took)[len(took) // 2] < 0.1


def test_only_the_page_that_is_seen_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def page_of(name: str) -> PageDrawing:
        def draw(moment: Moment, size: Size, marks: Marks) -> list[Line]:
            drawn.append(name)
            return [line(name)]

        return PageDrawing(draw, nothing)

    for name in ("overview", "robots", "events"):
        monkeypatch.setitem(PAGES, name, page_of(name))  # type: ignore[arg-type]

    async def story(person: Person) -> None:
        await person.press("2")
        drawn.clear()
        await person.advance()
        assert set(drawn) == {"robots"}

    watch(live(), story)


def test_what_is_wrong_with_a_record_is_shown_at_the_beginning() -> None:
    async def story(person: Person) -> None:
        assert person.notes == ["events.jsonl: 2 damaged lines were left out"]

    watch(replayed(recorded()), story, notes=["events.jsonl: 2 damaged lines were left out"])
