"""`robots events` on a record: what is shown, in which form, and what is refused in one line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.terminal import Terminal

MINE = '''
from msgspec.structs import replace

class OnlyRobots:
    """Ends the events of all others."""

    def handle(self, stamped, following):
        if stamped.source.startswith("r0"):
            following(stamped)

class FailsTwice:
    def __init__(self):
        self.left = 2

    def handle(self, stamped, following):
        self.left -= 1
        if self.left >= 0:
            raise ValueError("not yet")
        following(stamped)
'''


@pytest.fixture
def run(here: Path, terminal: Terminal) -> str:
    """A simulated run with a death."""
    done = terminal.do("simulate", "--json", "--seed", "7", "-n", "4", "--kill", "r02@100ms")
    return str(json.loads(done.out)["run"])


def test_the_latest_record_is_shown_in_the_order_of_time(run: str, terminal: Terminal) -> None:
    shown = terminal.do("events")

    lines = shown.out.splitlines()
    assert (shown.code, shown.err) == (0, "")
    times = [float(line.split()[0]) for line in lines]
    assert times == sorted(times)
    assert times[0] < 0 < times[-1]
    assert re.fullmatch(r" +-?0\.\d{6}  lab       run\.dealt           robots=4  parts=11", lines[0])
    assert terminal.do("events", run).out == shown.out
    assert terminal.do("events", f"./runs/{run}").out == shown.out


def test_the_last_of_those_that_are_wanted_are_shown(run: str, terminal: Terminal) -> None:
    shown = terminal.do("events", run[:4], "-n", "2", "--filter", "r02 robot.*")

    names = [line.split()[1:3] for line in shown.out.splitlines()]
    assert [source for source, _ in names] == ["r02/2", "r02/2"]
    assert names[-1] == ["r02/2", "robot.left"]
    assert terminal.do("events", "-n", "0").out == ""


def test_json_is_the_line_of_the_record(run: str, here: Path, terminal: Terminal) -> None:
    shown = terminal.do("events", "--json", "--filter", "secret.written")

    recorded = (here / "runs" / run / "events.jsonl").read_text().splitlines()
    assert shown.out.splitlines() == [line for line in recorded if '"secret.written"' in line] != []


def test_what_the_log_shows_can_be_used_as_a_filter(run: str, terminal: Terminal) -> None:
    # Given a line of the log
    line = terminal.do("events", "-n", "1", "--filter", "exchange.ended").out.split()

    # When its name and one of its fields are the filter
    shown = terminal.do("events", "--filter", f"{line[1]} {line[2]} {line[4]}")

    # Then it is shown
    assert shown.out.split() == line


def test_handlers_of_a_user_stand_before_the_log(run: str, here: Path, terminal: Terminal) -> None:
    (here / "mine_for_events.py").write_text(MINE)

    shown = terminal.do(
        *("events", "--handler", "mine_for_events:FailsTwice", "--handler", "mine_for_events:OnlyRobots")
    )

    assert {line.split()[1][:2] for line in shown.out.splitlines()} == {"r0"}
    assert shown.err == (
        "robots: handler mine_for_events:FailsTwice failed, and goes on: ValueError: not yet\n"
        "robots: handler mine_for_events:FailsTwice failed 2 times\n"
    )


def test_events_that_the_record_lacks_are_counted(run: str, here: Path, terminal: Terminal) -> None:
    path = here / "runs" / run / "events.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:20] + lines[22:25] + ["garbage\n"] + lines[25:]))

    shown = terminal.do("events", "-n", "1")

    missing, damaged = shown.err.splitlines()
    assert missing.startswith("robots: 2 events are missing: ")
    assert damaged == "robots: events.jsonl: 1 damaged line was left out"


def test_a_last_line_that_is_cut_is_reported(run: str, here: Path, terminal: Terminal) -> None:
    path = here / "runs" / run / "events.jsonl"
    path.write_bytes(path.read_bytes()[:-9])

    shown = terminal.do("events", "-n", "1")

    assert (shown.code, shown.err) == (0, "robots: events.jsonl: its last line is cut, and was left out\n")


@pytest.mark.parametrize("words", ["r99", "worker"])
def test_filters_that_match_nothing_are_reported(run: str, here: Path, terminal: Terminal, words: str) -> None:
    total = len((here / "runs" / run / "events.jsonl").read_text().splitlines())

    shown = terminal.do("events", "--filter", words)

    assert (shown.code, shown.out, shown.err) == (0, "", f"robots: --filter: 0 of {total} events match\n")


@pytest.mark.parametrize("command", ["events", "metrics"])
def test_a_record_without_events_is_refused(run: str, here: Path, terminal: Terminal, command: str) -> None:
    (here / "runs" / run / "events.jsonl").unlink()

    refused = terminal.do(command, run)

    complaint = f"robots: run {run} has no record that can be read: there is no events.jsonl\n"
    assert (refused.code, refused.out, refused.complaint) == (2, "", complaint)


@pytest.mark.parametrize("command", ["events", "metrics", "traces", "why", "verify", "anomalies"])
@pytest.mark.parametrize("folder", ["./", "/", ".", "other"])
def test_a_folder_that_is_no_record_is_refused(here: Path, terminal: Terminal, command: str, folder: str) -> None:
    (here / "runs" / "other").mkdir(parents=True)

    refused = terminal.do(command, folder)

    assert (refused.code, refused.out) == (2, "")
    assert f"there is no record in {folder}: " in refused.complaint


def test_a_file_in_the_place_of_the_runs_is_named_as_one(here: Path, terminal: Terminal) -> None:
    (here / "taken").touch()

    for command in ("runs", "events", "verify"):
        refused = terminal.do(command, "--runs-dir", "taken")
        assert (refused.code, refused.out) == (2, "")
        assert "taken is no folder" in refused.complaint


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--filter", "part.*"], "--filter: no event is named 'part.*'; did you mean 'parts.merged'?"),
        (["--filter", "pear=r05"], "--filter: no event has a field 'pear'; did you mean 'peer'?"),
        (["-n", "-1"], "-n: -1 is outside of what is allowed: 0 and more"),
        (["--handler", "nothing"], "--handler: 'nothing' names no handler"),
        (["--handler", "no_such_module_:X"], "--handler: no_such_module_:X cannot be imported: ModuleNotFoundError"),
        (["abcdef"], "no run 'abcdef' is recorded in runs/"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line(
    run: str, terminal: Terminal, arguments: list[str], complaint: str
) -> None:
    refused = terminal.do("events", *arguments)

    assert refused.code == 2
    assert refused.complaint.startswith(f"robots: {complaint}")


def test_a_log_that_cannot_be_read_is_a_failure_of_the_environment(run: str, here: Path, terminal: Terminal) -> None:
    path = here / "runs" / run / "events.jsonl"
    path.unlink()
    path.mkdir()

    refused = terminal.do("events")

    assert (refused.code, refused.complaint) == (4, "robots: events.jsonl: Is a directory\n")


def test_a_simulation_gives_its_events_to_handlers_and_counts_failures(here: Path, terminal: Terminal) -> None:
    # Given handlers in robots.toml, of which one fails
    (here / "mine_for_simulation.py").write_text(MINE)
    names = ["mine_for_simulation:FailsTwice", "mine_for_simulation:OnlyRobots"]
    (here / "robots.toml").write_text(f"handlers = {names}\n")

    # When a run is simulated
    done = terminal.do("simulate", "--json", "--seed", "7", "-n", "3")

    # Then it is held, the failures are reported, and counted beside all events
    result = json.loads(done.out)
    counters = json.loads((here / result["record"] / "counters.json").read_text())
    total = sum(counters["events"].values())
    assert (done.code, counters["failed_handlers"], counters["missed_by_handlers"]) == (0, {names[0]: 2}, 0)
    assert [line for line in done.err.splitlines() if "handler" in line] == [
        f"robots: handler {names[0]} failed, and goes on: ValueError: not yet",
        f"handler {names[0]} failed with 2 of {total} events",
    ]


def test_a_simulation_with_an_unknown_handler_is_refused(here: Path, terminal: Terminal) -> None:
    refused = terminal.do("simulate", "--handler", "no_such_module_:X")

    assert refused.code == 2
    assert refused.complaint.startswith("robots: --handler: no_such_module_:X cannot be imported")
    assert not (here / "runs").exists()
