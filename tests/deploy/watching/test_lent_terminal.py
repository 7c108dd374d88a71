"""A terminal that is lent to the app, and taken back: by leaving, by an interrupt, after a crash, at the end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkout import ROOT
from tests.support.pseudo_terminal import PseudoTerminal
from tests.support.waiting import await_true

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="live runs are for Linux")


class Lent(PseudoTerminal):
    """A terminal with a parent in it, whose app has the screens."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "tests.deploy.watching.lending", str(folder)]
        super().__init__(command, ROOT, {**os.environ, "PYTHONPATH": str(ROOT)})
        self.folder = folder
        self.await_screens()
        self.shown = self.await_text("/7f3a\r\n")
        await_true((folder / "begun").exists, what="the first lines")

    def end_run(self) -> None:
        (self.folder / "over").touch()


@pytest.fixture
def lent(tmp_path: Path) -> Iterator[Lent]:
    terminal = Lent(tmp_path)
    yield terminal
    terminal.process.kill()
    terminal.process.wait()
    terminal.close()


def test_nothing_is_printed_across_the_screens_and_all_of_it_after_them(lent: Lent) -> None:
    # Given a parent that printed while the app has the terminal, and a run that is over
    lent.end_run()
    assert lent.text[lent.shown :] == ""
    # When the person leaves the app
    lent.type("q")
    # Then what was held back is printed: notes first, and the result last; progress is past
    assert lent.await_end() == 3
    assert lent.text[lent.shown :].splitlines() == [
        "an error",
        "a child",
        "before the app",
        "the result, None",
        "after it",
    ]
    assert lent.is_as_before


def test_the_run_goes_on_with_lines_when_the_app_is_left_early(lent: Lent) -> None:
    # When the person leaves while the run goes on
    lent.type("q")
    lent.await_text("progress 1")
    # Then its newest lines of progress are printed, and later ones as they come
    lent.end_run()
    assert lent.await_end() == 3
    assert "the screens ended" not in lent.text
    for line in ("an error", "progress 2", "a child", "the result, None", "after it"):
        assert lent.text.count(line) == 1
    assert lent.is_as_before


def test_an_app_that_is_killed_leaves_a_terminal_that_is_put_right(lent: Lent) -> None:
    # When the app is killed in the middle of its screens
    lent.type("x")
    # Then the terminal is as before, one line tells it, and the run goes on
    lent.await_text("the screens ended (signal 9); the run goes on: robots watch 7f3a")
    assert lent.is_as_before
    assert "\x1b[?25h" in lent.written
    lent.end_run()
    assert lent.await_end() == 3
    assert "the result, None" in lent.text


def test_an_interrupt_in_the_app_interrupts_the_run(lent: Lent) -> None:
    lent.type("c")

    assert lent.await_end() == 3
    assert "the result, interrupted" in lent.text
    assert "the screens ended" not in lent.text
    assert lent.is_as_before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_parent_ends_the_app_too(lent: Lent, number: int) -> None:
    # When the parent gets a signal, while the app has the terminal
    lent.process.send_signal(number)
    # Then it ends in order, and so does the app: it waits for no person
    assert lent.await_end() == 3
    assert f"the result, {'interrupted' if number == signal.SIGINT else 'stopped'}" in lent.text
    assert lent.is_as_before
