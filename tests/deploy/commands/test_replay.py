"""`robots replay` where there is no terminal: the stories of a record as lines; and on a terminal: the screens."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from tests.support.checkout import ROOT
from tests.support.pseudo_terminal import PseudoTerminal
from tests.support.terminal import Terminal

OnTerminal = Callable[..., PseudoTerminal]
"""Starts a command on a terminal of its own."""


@pytest.fixture
def run(here: Path, terminal: Terminal) -> str:
    """A simulated run with a death."""
    done = terminal.do("simulate", "--json", "--seed", "7", "-n", "4", "--kill", "r02@100ms")
    return str(json.loads(done.out)["run"])


def test_the_stories_are_lines_in_the_order_of_time_and_then_comes_the_verdict(run: str, terminal: Terminal) -> None:
    shown = terminal.do("replay")

    assert (shown.code, shown.err) == (0, "")
    lines = shown.out.splitlines()
    timed = [line for line in lines if re.match(r"before go  \S| *\d+\.\d{3}s  \S", line)]
    times = [-1.0 if line.startswith("before") else float(line.split("s")[0]) for line in timed]
    assert len(timed) > 5
    assert times == sorted(times)
    assert lines[: len(timed)] == timed
    assert lines[len(timed)].startswith("HELD")
    assert any("r02" in line for line in timed)
    # And a person may name the run
    assert terminal.do("replay", run[:4]).out == shown.out
    assert terminal.do("replay", f"./runs/{run}").out == shown.out


def test_no_escape_ever_reaches_a_file(run: str, here: Path, terminal: Terminal) -> None:
    # Given a record whose texts are those of an attacker
    verdict = here / "runs" / run / "verdict.json"
    result = json.loads(verdict.read_text())
    result["promises"]["once"] |= {"state": "BROKEN", "why": "\x1b[2Jgone"}
    verdict.write_text(json.dumps(result))
    # Then nothing of it acts on a terminal
    shown = terminal.do("replay")
    assert "\x1b" not in shown.out
    assert "gone" in shown.out


def test_it_begins_where_a_person_wants(run: str, terminal: Terminal) -> None:
    whole, part = terminal.do("replay").out.splitlines(), terminal.do("replay", "--from", "50ms").out.splitlines()

    assert 0 < len(part) < len(whole)
    assert whole[-len(part) :] == part
    assert float(part[0].split("s")[0]) >= 0.05


def test_json_is_one_story_a_line(run: str, terminal: Terminal) -> None:
    schema = Draft202012Validator(json.loads(terminal.do("schema", "replay").out))
    shown = terminal.do("replay", "--json")

    rows = [json.loads(line) for line in shown.out.splitlines()]
    assert [error for row in rows for error in schema.iter_errors(row)] == []
    assert [row["at_s"] for row in rows] == sorted(row["at_s"] for row in rows)
    assert any("r02" in row["text"] for row in rows)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--speed", "0"), "--speed: '0' is none; allowed is 1/8x to 64x"),
        (("--speed", "1/9x"), "--speed"),
        (("--speed", "65x"), "--speed"),
        (("--speed", "1/0"), "--speed"),
        (("--speed", "fast"), "--speed"),
        (("--from", "later"), "--from"),
        (("--hz", "0"), "--hz"),
        (("--ui", "tui"), "--ui: tui needs a terminal"),
        (("--ui", "web"), "--ui"),
        (("nosuch",), "nosuch"),
    ],
)
def test_what_is_not_allowed_is_refused_in_one_line(
    run: str, arguments: tuple[str, ...], complaint: str, terminal: Terminal
) -> None:
    shown = terminal.do("replay", *arguments)

    assert shown.code == 2
    assert complaint in shown.complaint


def test_a_damaged_record_is_replayed_and_what_it_lacks_is_reported(run: str, here: Path, terminal: Terminal) -> None:
    # Given a record with damage in three files
    folder = here / "runs" / run
    events = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "events.jsonl").write_bytes(b"".join([*events[:20], b"garbage\n", *events[25:]]))
    (folder / "deal.json").write_text("{")
    (folder / "fates.jsonl").write_text("{}\n")
    # When it is replayed
    shown = terminal.do("replay")
    # Then the stories are there, and a line for each thing that is not
    assert shown.code == 0
    assert "r02" in shown.out
    assert re.search(r"1 damaged line was left out", shown.err)
    assert re.search(r"\d+ events are missing", shown.err)
    assert "who was dealt what is not known: deal.json" in shown.err
    assert "the clocks of hosts cannot be compared: fates.jsonl" in shown.err


def test_a_record_that_was_never_judged_has_no_verdict(run: str, here: Path, terminal: Terminal) -> None:
    (here / "runs" / run / "verdict.json").unlink()

    shown = terminal.do("replay")
    assert "HELD" not in shown.out
    assert "there is no verdict" in shown.err


def test_a_record_without_settings_or_events_is_refused(run: str, here: Path, terminal: Terminal) -> None:
    (here / "runs" / run / "settings.json").unlink()
    assert "settings.json" in terminal.do("replay").complaint
    (here / "runs" / run / "events.jsonl").unlink()
    assert terminal.do("replay").code == 2


@pytest.fixture
def on_terminal(here: Path) -> Iterator[OnTerminal]:
    opened: list[PseudoTerminal] = []

    def open_(*arguments: str, columns: int = 100, lines: int = 30, **variables: str) -> PseudoTerminal:
        command = [sys.executable, "-m", "deploy", *arguments]
        environment = {name: value for name, value in os.environ.items() if name != "CI"}
        environment |= {"PYTHONPATH": str(ROOT), **variables}
        opened.append(PseudoTerminal(command, here, environment, columns, lines))
        return opened[-1]

    yield open_
    for terminal in opened:
        terminal.process.kill()
        terminal.process.wait()
        terminal.close()


def test_on_a_terminal_the_screens_open_and_leave_it_as_it_was(run: str, on_terminal: OnTerminal) -> None:
    terminal = on_terminal("replay", "--speed", "1/8x")
    terminal.await_screens()
    terminal.await_text("REPLAY")
    terminal.type("q")

    assert terminal.await_end() == 0
    assert terminal.is_as_before


@pytest.mark.parametrize(("columns", "lines"), [(79, 24), (80, 23)])
def test_a_terminal_that_is_too_small_gets_lines(run: str, columns: int, lines: int, on_terminal: OnTerminal) -> None:
    terminal = on_terminal("replay", columns=columns, lines=lines)

    assert terminal.await_end() == 0
    assert "\x1b" not in terminal.written
    assert "HELD" in terminal.written


def test_a_simulation_is_replayed_from_its_beginning_and_its_exit_code_is_the_runs(on_terminal: OnTerminal) -> None:
    # Given a lab that is broken on purpose
    terminal = on_terminal("simulate", "--exhibit", "writes-twice", "--seed", "7", "--ui", "tui", "--hz", "2")
    # When it is over, its record is shown
    terminal.await_screens()
    terminal.await_text("REPLAY")
    terminal.type("6")
    terminal.await_text("BROKEN")
    terminal.type("q")
    # Then the verdict is the exit code
    assert terminal.await_end() == 1
    assert terminal.is_as_before


def test_a_simulation_is_not_begun_where_it_cannot_be_shown(here: Path, terminal: Terminal) -> None:
    refused = terminal.do("simulate", "--ui", "tui")

    assert refused.code == 2
    assert "--ui: tui needs a terminal" in refused.complaint
    assert not (here / "runs").exists()
