"""Which ui is chosen for which terminal, and how a table is painted again at its place."""

from __future__ import annotations

import pytest

from deploy.errors import UsageError
from deploy.watching import terminal
from deploy.watching.repainting import Extent, Repainting
from deploy.watching.terminal import Terminal, Ui, choose_ui
from telemetry.drawing import pages

GOOD = Terminal(is_ours=True, columns=80, lines=24, kind="xterm")


@pytest.mark.parametrize(
    ("seen", "chosen"),
    [
        (GOOD, "tui"),
        (GOOD._replace(columns=79), "plain"),
        (GOOD._replace(lines=23), "plain"),
        (GOOD._replace(kind="dumb"), "plain"),
        (GOOD._replace(kind=""), "plain"),
        (GOOD._replace(is_ci=True), "plain"),
        (GOOD._replace(is_ours=False), "plain"),
        (Terminal(is_ours=False), "plain"),
    ],
)
def test_auto_shows_screens_only_where_they_can_be_shown(seen: Terminal, chosen: Ui) -> None:
    assert choose_ui("auto", seen) == chosen


def test_json_is_never_mixed_with_screens_unless_they_are_asked_for() -> None:
    assert choose_ui("auto", GOOD, is_json=True) == "plain"
    assert choose_ui("tui", GOOD, is_json=True) == "tui"


@pytest.mark.parametrize("seen", [GOOD._replace(is_ours=False), GOOD._replace(kind="dumb")])
def test_screens_that_are_asked_for_and_cannot_be_shown_are_refused(seen: Terminal) -> None:
    with pytest.raises(UsageError, match="--ui: tui needs a terminal"):
        choose_ui("tui", seen)


@pytest.mark.parametrize("asked", ["plain", "none"])
def test_what_is_asked_for_is_chosen(asked: Ui) -> None:
    assert choose_ui(asked, GOOD) == asked


def test_the_smallest_terminal_is_that_of_the_screens() -> None:
    assert pages.SMALLEST == terminal.SMALLEST


def test_a_table_is_painted_at_the_same_place() -> None:
    # Given a table that was painted
    table, extent = Repainting(), Extent(20, 10)
    assert table.text(["one", "two"], extent) == ("", "one\ntwo")
    # When it is painted again, with another number of lines
    # Then the cursor goes back to its first line, and what is below is erased
    assert table.text(["three"], extent) == ("\x1b[2F\x1b[J", "three")
    assert table.text(["four"], extent) == ("\x1b[1F\x1b[J", "four")


def test_what_does_not_fit_is_cut() -> None:
    table = Repainting()

    assert table.text(["a" * 30, "漢字漢字漢字", "three"], Extent(10, 3)) == ("", f"{'a' * 9}\n漢字漢字")
    assert table.text(["x"], Extent(10, 3))[0].startswith("\x1b[2F")


def test_without_a_terminal_no_escape_is_written() -> None:
    table = Repainting()

    assert [table.text(["one", "two"], None), table.text(["three"], None)] == [("", "one\ntwo"), ("", "\nthree")]
