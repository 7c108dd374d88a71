"""`robots run` on a terminal: it lends the terminal to the screens, gets it back however they end, and ends as without
them."""

from __future__ import annotations

import json
import os
import shutil
import signal
from typing import Any

import pytest

from tests.support.live_place import LIVE, UNTIL_STOPPED, Place
from tests.support.pseudo_terminal import Open
from tests.support.waiting import await_true, is_alive

pytestmark = LIVE

SMALL = ("run", "-n", "3", "--seed", "3")


def verdict(place: Place) -> dict[str, Any]:
    path = place.folder / "runs/latest/verdict.json"
    await_true(path.exists, what="the verdict")
    result: dict[str, Any] = json.loads(path.read_bytes())
    return result


def app_of(place: Place) -> int:
    """The process that has the screens."""
    found = [pid for pid, line in place.processes().items() if " watch " in line]
    assert len(found) == 1, place.processes()
    return found[0]


def result_of(place: Place) -> str:
    """How the result begins that a run prints."""
    result = verdict(place)
    return f"{result['verdict']}  run {result['run']}"


def test_a_run_on_a_terminal_opens_the_screens_and_stays_on_the_verdict(place: Place, open_terminal: Open) -> None:
    # Given a run on a terminal that is over
    terminal = open_terminal(*SMALL)
    terminal.await_screens()
    result = verdict(place)
    terminal.await_text(f"OVER: {result['verdict']}")
    assert terminal.shows_screens
    # When the person leaves the screens
    terminal.type("q")
    # Then the result stands in the normal screen, as without them, and nothing is left
    assert terminal.await_end() == 0
    assert terminal.is_as_before
    shown = terminal.written.rpartition("\x1b[?1049l")[2]
    assert result_of(place) in shown
    assert f"robots verify {result['run']}" in shown
    assert "goes on" not in shown
    await_true(place.is_clean, what="the end of everything")


def test_the_screens_may_be_left_and_the_run_goes_on_with_lines(place: Place, open_terminal: Open) -> None:
    # Given a run whose person has seen enough
    terminal = open_terminal(*SMALL, *UNTIL_STOPPED)
    place.await_done()
    terminal.await_text("complete 3/3")
    terminal.type("q")
    # Then one line tells that it goes on, and lines follow
    at = terminal.await_text(f"run {place.run_id} goes on; attach again: robots watch {place.run_id}")
    assert terminal.is_as_before
    # When it is stopped from elsewhere
    place.start("stop").communicate(timeout=60)
    # Then the result is printed as usual
    assert terminal.await_end() == 0
    assert result_of(place) in terminal.text[at:]
    await_true(place.is_clean, what="the end of everything")


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_an_app_that_is_killed_neither_ends_the_run_nor_spoils_the_terminal(
    place: Place, open_terminal: Open, number: int
) -> None:
    terminal = open_terminal(*SMALL, *UNTIL_STOPPED)
    place.await_done()
    terminal.await_text("complete 3/3")
    # When the process that has the screens is killed
    os.kill(app_of(place), number)
    # Then the terminal is put right, one line tells it, and the run goes on
    terminal.await_text(f"robots watch {place.run_id}")
    assert terminal.is_as_before
    assert terminal.process.poll() is None
    place.start("stop").communicate(timeout=60)
    assert terminal.await_end() == 0
    await_true(place.is_clean, what="the end of everything")


def test_ctrl_c_twice_interrupts_the_run_as_without_screens(place: Place, open_terminal: Open) -> None:
    terminal = open_terminal(*SMALL, *UNTIL_STOPPED)
    place.await_done()
    terminal.await_text("complete 3/3")

    terminal.type("\x03")
    terminal.type("\x03")

    assert terminal.await_end() == 130
    assert verdict(place)["ended"] == "interrupted"
    assert terminal.is_as_before
    await_true(place.is_clean, what="the end of everything")


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, marks=pytest.mark.long),
        signal.SIGTERM,
        pytest.param(signal.SIGHUP, marks=pytest.mark.long),
    ],
)
def test_a_signal_to_the_run_ends_the_screens_too(place: Place, open_terminal: Open, number: int) -> None:
    terminal = open_terminal(*SMALL, *UNTIL_STOPPED)
    place.await_done()
    terminal.await_text("complete 3/3")

    terminal.process.send_signal(number)

    assert terminal.await_end() == (130 if number == signal.SIGINT else 0)
    assert terminal.is_as_before
    assert result_of(place) in terminal.text
    await_true(place.is_clean, what="the end of everything")


def test_when_the_run_is_killed_the_app_reports_it_and_leaves(place: Place, open_terminal: Open) -> None:
    # Given screens that a run has opened
    terminal = open_terminal(*SMALL, *UNTIL_STOPPED)
    place.await_done()
    terminal.await_text("complete 3/3")
    app, run = app_of(place), place.run_id
    # When the process of the run is killed
    terminal.process.kill()
    # Then the app leaves the screens, says why, and nothing is left
    terminal.await_text(f"run {run} was killed: its process is gone; judge what is there: robots verify {run}")
    await_true(lambda: not is_alive(app), what="the end of the app")
    assert not terminal.shows_screens
    await_true(place.is_clean, what="the end of everything")


def test_a_terminal_that_is_closed_ends_the_run_in_order(place: Place, open_terminal: Open) -> None:
    terminal = open_terminal(*SMALL, *UNTIL_STOPPED)
    place.await_done()
    terminal.await_text("complete 3/3")

    terminal.close()

    terminal.process.wait(timeout=60)
    assert verdict(place)["ended"] == "stopped"
    await_true(place.is_clean, what="the end of everything")


@pytest.mark.skipif(not shutil.which("bash"), reason="a shell with job control is needed")
def test_ctrl_z_gives_the_terminal_back_to_the_shell_until_fg(place: Place, open_terminal: Open) -> None:
    # Given a run with screens, started by a shell
    shell = open_terminal(program=["bash", "--norc", "--noprofile", "-i"])
    shell.type(f"PS1='READY> '; {' '.join(place.program)} {' '.join((*SMALL, *UNTIL_STOPPED))}\n")
    place.await_done()
    shell.await_text("complete 3/3")
    # When the person stops it
    before = len(shell.text)
    shell.type("\x1a")
    await_true(lambda: not shell.shows_screens, what="the normal screen")
    at = shell.await_text("READY> ", shell.await_text("Stopped", before))  # the shell reports it a little later
    shell.type("echo is $((6 * 7))\n")
    shell.await_text("is 42", at)
    # Then fg brings the screens back
    shell.type("fg\n")
    shell.await_screens()
    # And it can be left as before
    shell.type("q")
    shell.await_text("goes on; attach again")
    shell.type("\x03")
    shell.await_text(result_of(place))
    shell.type("exit\n")
    shell.await_end()
    await_true(place.is_clean, what="the end of everything")
