"""Every key of the app that is no knob: pressed by a person on a terminal of 80x24."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from telemetry.drawing import pages
from telemetry.drawing.keys import KEYS, PAGE_WORDS
from telemetry.drawing.line import Line, Size, line, scrolled
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Moment
from telemetry.drawing.pages import PAGES, PageDrawing
from telemetry.watch.app import LEFT, STOP
from tests.telemetry.watch.recordings import recorded, replayed
from tests.telemetry.watch.stages import LiveRun, Person, Seconds, watch


def listed(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    """A page with a list of robots, as plain as can be."""
    names = rows(moment)
    lines = [line(f"  {name} is a robot") for name in names]
    return [line("LIST"), *scrolled(lines, moment.chosen.cursor, size.height - 1)[0]]


def rows(moment: Moment) -> list[str]:
    found = [name for name in moment.scene.robots if moment.chosen.filter in name]
    return found[::-1] if moment.chosen.is_reversed else found


@pytest.fixture(autouse=True)
def pages_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three pages that do not change with the lab's own."""
    for page in ("robots", "supervision", "events"):
        monkeypatch.setitem(PAGES, page, PageDrawing(listed, rows, ("upper", "lower")))


def live(events: int = 400) -> LiveRun:
    return LiveRun(recorded(), events)


def test_digits_show_pages_and_the_line_below_marks_the_one_that_is_shown() -> None:
    async def story(person: Person) -> None:
        await person.press("2")
        assert "LIST" in person.screen
        assert person.app.chosen.page == "robots"
        below = person.app.shown[-1]
        assert [each.text for each in below if each.tone == "title"] == [" Robots"]
        await person.press("5")
        assert person.app.chosen.page == "events"
        await person.press("1")
        assert person.app.chosen.page == "overview"

    watch(live(), story)


def test_the_verdict_is_offered_when_there_is_one() -> None:
    stage, seconds = live(), Seconds()

    async def story(person: Person) -> None:
        # Given a run that goes on
        await person.press("6")
        assert person.app.chosen.page == "overview"
        assert "no verdict yet" in person.notes[0]
        assert "6 Verdict" not in person.screen
        # When it is over
        stage.end()
        await person.advance()
        assert "6 Verdict" in person.screen
        # Then its key shows it
        await person.press("6")
        assert person.app.chosen.page == "verdict"
        assert "BROKEN" in person.screen

    watch(stage, story, clock=seconds)


def test_the_verdict_comes_by_itself_to_a_person_who_only_watches() -> None:
    stage, seconds = live(), Seconds()

    async def story(person: Person) -> None:
        seconds.now += 30
        stage.end()
        await person.advance()
        assert person.app.chosen.page == "verdict"
        # And it does not come back when they leave it
        await person.press("1")
        await person.advance()
        assert person.app.chosen.page == "overview"

    watch(stage, story, clock=seconds)


def test_the_verdict_does_not_take_the_page_from_a_person_who_uses_it() -> None:
    stage, seconds = live(), Seconds()

    async def story(person: Person) -> None:
        seconds.now += 30
        await person.press("2")
        seconds.now += 3
        stage.end()
        await person.advance()
        assert person.app.chosen.page == "robots"
        assert "6 shows the verdict" in person.notes[-1]

    watch(stage, story, clock=seconds)


@pytest.mark.parametrize(
    ("keys", "row"),
    [
        (("j", "j", "k"), 1),
        (("down", "down", "up"), 1),
        (("k",), 0),
        (("G",), 5),
        (("end", "j"), 5),
        (("G", "g"), 0),
        (("end", "home"), 0),
        (("pagedown",), 5),
        (("pagedown", "pageup"), 0),
        (("n", "n", "p"), 1),
    ],
)
def test_the_cursor_stays_among_the_rows(keys: tuple[str, ...], row: int) -> None:
    async def story(person: Person) -> None:
        await person.press("2", *keys)
        assert person.app.chosen.cursor == row
        assert person.app.row == f"r{row:02}"

    watch(live(), story)


def test_enter_goes_into_a_robot_from_any_page_and_escape_back_to_that_page() -> None:
    async def story(person: Person) -> None:
        await person.press("4", "j", "j", "enter")
        assert (person.app.chosen.page, person.app.chosen.robot) == ("robots", "r02")
        # And n and p go to the next one and back, round the end
        await person.press("n")
        assert person.app.chosen.robot == "r03"
        await person.press("p", "p", "p", "p")
        assert person.app.chosen.robot == "r05"
        # And brackets change the tab
        await person.press("right_square_bracket", "right_square_bracket", "left_square_bracket")
        assert person.app.chosen.tab == 1
        await person.press("left_square_bracket", "left_square_bracket")
        assert person.app.chosen.tab == -1  # the page counts its tabs round
        await person.press("escape")
        assert (person.app.chosen.page, person.app.chosen.robot, person.app.chosen.cursor) == ("supervision", "", 2)

    watch(live(), story)


def test_the_cursor_stays_on_the_robot_when_rows_change_their_places() -> None:
    async def story(person: Person) -> None:
        await person.press("2", "j", "S")
        await person.advance()
        assert (person.app.row, person.app.chosen.cursor) == ("r01", 4)
        # And begins at the first row of another list
        await person.press("slash", "0", "enter")
        await person.advance()
        assert person.app.chosen.cursor == 0

    watch(live(), story)


def test_a_filter_acts_while_it_is_typed_and_escape_brings_back_what_was() -> None:
    async def story(person: Person) -> None:
        await person.press("2", "slash", "0", "3")
        assert person.app.chosen.filter == "03"
        assert "r03 is" in person.screen
        assert "r02 is" not in person.screen
        # When it is entered, it stays; keys are keys again
        await person.press("enter", "j")
        assert (person.app.chosen.filter, person.app.chosen.cursor) == ("03", 0)
        # When another one is typed and given up, the first is back
        await person.press("slash", "backspace", "x", "escape")
        assert person.app.chosen.filter == "03"
        # And once more escape shows all
        await person.press("escape")
        assert person.app.chosen.filter == ""
        assert "r02 is" in person.screen

    watch(live(), story)


def test_letters_in_a_filter_are_letters() -> None:
    async def story(person: Person) -> None:
        await person.press("2", "slash", "q", "s", "question_mark", "6")
        assert person.app.chosen.filter == "qs?6"
        assert person.app.chosen.page == "robots"

    watch(live(), story)


def test_sort_reverse_trouble_and_follow_are_chosen() -> None:
    async def story(person: Person) -> None:
        await person.press("2", "s", "s", "S", "o", "t")
        chosen = person.app.chosen
        assert (chosen.sort, chosen.is_reversed, chosen.is_only_trouble, chosen.is_following) == (2, True, True, False)
        await person.press("S", "o", "t")
        chosen = person.app.chosen
        assert (chosen.is_reversed, chosen.is_only_trouble, chosen.is_following) == (False, False, True)
        # And another page begins anew
        await person.press("4")
        assert person.app.chosen.sort == 0

    watch(live(), story)


def test_space_holds_the_view_while_the_run_goes_on_and_what_waits_is_counted() -> None:
    stage = live()

    async def story(person: Person) -> None:
        await person.press("space")
        before = person.screen.splitlines()[2:]
        # When events come
        stage.let(123)
        await person.advance()
        # Then they are folded, and not shown, but counted
        assert stage.scene is not None
        assert stage.scene.seen == 523
        assert person.screen.splitlines()[2:] == before
        assert "VIEW PAUSED, 123 events wait" in person.screen
        # And keys still choose among what is shown
        await person.press("2", "G")
        assert person.app.row == "r05"
        # And all is there again at once
        await person.press("space")
        assert person.app.moment is not None
        assert person.app.moment.scene is stage.scene
        assert "PAUSED" not in person.screen

    watch(stage, story)


def test_a_live_run_does_not_go_back() -> None:
    stage = live()

    async def story(person: Person) -> None:
        await person.press("comma", "full_stop", "less_than_sign", "greater_than_sign", "plus", "minus")
        assert len(person.notes) == 4
        assert "robots replay" in person.notes[0]

    watch(stage, story)


def test_a_replay_plays_stands_steps_and_changes_its_speed() -> None:
    replay = replayed(recorded())
    replay.seek(1_000_000)
    seen, now_us = replay.scene.seen, replay.scene.now_us

    async def story(person: Person) -> None:
        await person.press("full_stop", "full_stop", "comma")
        assert replay.scene.seen == seen + 1
        assert "stands" in person.screen
        await person.press("greater_than_sign", "greater_than_sign", "less_than_sign")
        assert replay.scene.now_us - now_us >= 100_000
        await person.press("space")
        assert replay.status.is_playing
        assert "1x" in person.screen
        await person.press("plus", "plus", "minus")
        assert replay.status.speed == 2
        await person.press("space")
        assert not replay.status.is_playing

    watch(replay, story)


def test_a_replay_shows_the_verdict_at_its_end_and_any_time() -> None:
    replay = replayed(recorded())

    async def story(person: Person) -> None:
        await person.press("6")
        assert person.app.chosen.page == "verdict"
        await person.press("1")
        replay.seek(10**9)
        await person.advance()
        assert person.app.chosen.page == "verdict"
        # And a person who goes back from there is left alone
        await person.press("1", "comma")
        await person.advance()
        assert person.app.chosen.page == "overview"

    watch(replay, story)


def test_m_lets_each_panel_fill_the_page_in_turn() -> None:
    async def story(person: Person) -> None:
        await person.press("2", "m")
        assert person.app.chosen.panel == "upper"
        await person.press("m")
        assert person.app.chosen.panel == "lower"
        await person.press("m")
        assert person.app.chosen.panel == ""
        await person.press("m", "escape")
        assert person.app.chosen.panel == ""

    watch(live(), story)


def test_r_changes_how_often_the_page_is_painted() -> None:
    async def story(person: Person) -> None:
        rates = []
        for _ in range(3):
            await person.press("r")
            rates.append(person.app.chosen.hertz)
        assert rates == [10, 2, 4]
        assert person.app._rounds is not None
        assert person.app._rounds._interval == 0.25

    watch(live(), story)


def test_c_copies_the_marked_row() -> None:
    async def story(person: Person) -> None:
        await person.press("2", "j", "c")
        assert person.app.clipboard == "r01 is a robot"

    watch(live(), story)


def test_w_saves_a_picture_that_fetches_nothing_and_a_text(tmp_path: Path) -> None:
    stage = live()
    stage.status = replace(stage.status, folder=tmp_path)

    async def story(person: Person) -> None:
        await person.press("2", "w", "w")
        assert any("screen-1-robots" in each for each in person.notes)

    watch(stage, story)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["screen-1-robots.svg", "screen-1-robots.txt", "screen-2-robots.svg", "screen-2-robots.txt"]
    svg = (tmp_path / "screen-1-robots.svg").read_text()
    assert set(re.findall(r"https?://[^\"'\s)<]+", svg)) == {"http://www.w3.org/2000/svg"}
    assert "r03" in svg
    text = (tmp_path / "screen-1-robots.txt").read_text().splitlines()
    assert len(text) == 24
    assert "  r03 is a robot" in text


def test_w_saves_into_the_current_folder_where_the_records_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = live()
    stage.status = replace(stage.status, folder=tmp_path / "gone")
    monkeypatch.chdir(tmp_path)

    async def story(person: Person) -> None:
        await person.press("w")

    watch(stage, story)
    assert (tmp_path / "screen-1-overview.svg").exists()


def test_help_lists_every_key_and_every_mark_on_its_sheets() -> None:
    async def story(person: Person) -> None:
        await person.press("2", "question_mark")
        first = person.screen
        await person.press("question_mark")
        second = person.screen
        for key in KEYS:
            assert key.shown in first
        assert "gossiping  learns from others" in second
        assert "UNPROVEN" in second
        await person.press("question_mark")
        assert "LIST" in person.screen
        await person.press("question_mark", "escape")
        assert "LIST" in person.screen

    watch(live(), story)


def test_the_palette_offers_every_action_by_its_name() -> None:
    async def story(person: Person) -> None:
        offered = [command.title for command in person.app.get_system_commands(person.app.screen)]
        assert offered == [key.text for key in KEYS if key.action != "command_palette"]
        assert len(set(offered)) == len(offered)
        # And what is chosen there is done
        await person.press("ctrl+p")
        await person.press(*"sort by")
        await person.press("down", "enter")
        await person.settle()
        assert person.app.chosen.sort == 1

    watch(live(), story)


def test_q_leaves_and_the_run_goes_on() -> None:
    async def story(person: Person) -> None:
        await person.press("q")

    assert watch(live(), story).return_value == LEFT


def test_ctrl_c_ends_a_replay_at_once() -> None:
    async def story(person: Person) -> None:
        await person.press("ctrl+c")

    assert watch(replayed(recorded()), story).return_value == STOP


def test_only_pages_that_are_there_are_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(pages.PAGES, "events")

    async def story(person: Person) -> None:
        await person.press("5")
        assert person.app.chosen.page == "overview"
        assert "5 Events" not in person.screen

    watch(live(), story)


def test_no_two_actions_share_a_key_and_each_is_there() -> None:
    keys = [key for row in KEYS for key in row.keys.split(",")]
    assert len(set(keys)) == len(keys)
    assert {row.keys for row in KEYS if row.group == "pages"} == {key for key, _, _ in PAGE_WORDS.values()}

    async def story(person: Person) -> None:
        for row in KEYS:
            name = row.action.partition("(")[0]
            assert hasattr(person.app, f"action_{name}"), row

    watch(live(), story)
