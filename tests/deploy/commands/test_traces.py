"""`robots traces`: what a person sees of a run's exchanges, as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.terminal import Terminal


@pytest.fixture
def run(here: Path, terminal: Terminal) -> str:
    """A simulated run with losses, a kill and an injection."""
    faults = ("--loss", ".3", "--kill", "r01@500ms", "--for", "2s")
    result = terminal.do("simulate", "--json", "--seed", "7", "-n", "4", *faults)
    return str(json.loads(result.out)["run"])


def test_the_slowest_exchanges_are_listed(run: str, terminal: Terminal) -> None:
    # When the list is asked for
    shown = terminal.do("traces", "--limit", "3")
    # Then the slowest three are there, and how to draw one
    assert (shown.code, shown.err) == (0, "")
    first, head, *rows, more, hint = shown.out.splitlines()
    assert first.startswith(f"run {run}  exchanges ")
    assert head.split()[:5] == ["exchange", "began", "took", "whole", "robots"]
    assert len(rows) == 3
    whole = [float(row.split()[5]) for row in rows]
    assert whole == sorted(whole, reverse=True)
    assert more.startswith("the slowest 3 of ")
    assert hint == f"draw one: robots traces {run} {rows[0].split()[0]}"


def test_the_list_as_json_holds_what_the_text_does(run: str, terminal: Terminal) -> None:
    row = terminal.do("traces", run, "--json", "--limit", "1000").row

    assert (row["run"], row["total"], row["wanted"]) == (run, len(row["exchanges"]), len(row["exchanges"]))
    assert sum(row["outcomes"].values()) == row["total"]
    assert {"exchange", "trace_id", "initiator", "peer", "outcome", "faults", "merged"} <= row["exchanges"][0].keys()


@pytest.mark.parametrize(
    "flags",
    [("--failed",), ("--robot", "r02"), ("--fault", "loss"), ("--part", "7"), ("--part", "7", "--robot", "r02")],
)
def test_the_list_is_narrowed_by_each_flag(run: str, terminal: Terminal, flags: tuple[str, ...]) -> None:
    everything = terminal.do("traces", "--json", "--limit", "1000").row["exchanges"]
    chosen = terminal.do("traces", "--json", "--limit", "1000", *flags).row["exchanges"]

    assert 0 < len(chosen) < len(everything)
    for row in chosen:
        assert "--failed" not in flags or row["is_failed"]
        assert "--robot" not in flags or "r02" in (row["initiator"], row["peer"])
        assert "--fault" not in flags or any(fault.startswith("loss") for fault in row["faults"])
        assert "--part" not in flags or row["merged"]


def test_an_exchange_is_drawn_by_its_id(run: str, terminal: Terminal) -> None:
    # Given an exchange that timed out
    row = terminal.do("traces", "--json", "--failed", "--limit", "1").row["exchanges"][0]
    # When it is drawn
    shown = terminal.do("traces", run, row["exchange"])
    # Then the text says how it ended, and by which id other tools know it
    lines = shown.out.splitlines()
    assert lines[0].split()[:2] == [row["initiator"], "exchange"]
    assert f"ERROR {row['outcome']}" in lines[0]
    assert lines[-1] == f"trace {row['trace_id']}"
    # and so does the JSON
    trace = terminal.do("traces", run, row["exchange"], "--json").row
    assert trace["trace_id"] == row["trace_id"]
    root, *rest = trace["spans"]
    assert (root["name"], root["parent_id"], root["error"]) == ("exchange", None, row["outcome"])
    ids = {span["span_id"] for span in trace["spans"]}
    assert {span["parent_id"] for span in rest} <= ids
    assert len(lines) == len(trace["spans"]) + 1


def test_the_run_itself_is_drawn(run: str, terminal: Terminal) -> None:
    shown = terminal.do("traces", run, "run").out

    first = shown.splitlines()[0]
    assert first.split()[:2] == ["lab", "run"]
    note = next(line for line in shown.splitlines() if line.startswith("times here count"))
    go_ms = float(note.split()[-2])
    assert 0 <= go_ms < 1_000
    assert "verdict HELD" in first
    assert "ERROR killed" in shown
    assert "verb kill, target r01, victim r01" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing",), "no run 'nothing'"),
        (("latest", "xyz"), "has no exchange 'xyz'"),
        (("latest", "0"), "means "),
        (("latest", "--limit", "0"), "--limit: 0 is outside of what is allowed"),
        (("latest", "--part", "x"), "--part"),
        (("latest", "--part", "99"), "has no part 99; allowed is 0 to 10"),
        (("latest", "--robot", "r99"), "has no robot r99; allowed is one of r00, r01"),
        (("latest", "--fault", "nosuch"), "--fault: 'nosuch' is no fault; allowed is one of loss, "),
    ],
)
def test_what_cannot_be_shown_is_complained_of_in_one_line(
    run: str, terminal: Terminal, arguments: tuple[str, ...], words: str
) -> None:
    shown = terminal.do("traces", *arguments)

    assert shown.code == 2
    assert words in shown.complaint


def test_a_list_without_a_wanted_exchange_is_no_error(run: str, terminal: Terminal) -> None:
    shown = terminal.do("traces", "--fault", "throttle")

    assert shown.code == 0
    assert "none matches: 0 met the fault throttle" in shown.out


def test_a_part_that_a_robot_was_dealt_was_taught_to_it_by_none(run: str, terminal: Terminal) -> None:
    parts = range(11)

    lists = [terminal.do("traces", "--robot", "r00", "--part", str(part)).out for part in parts]

    dealt = [part for part in parts if f"r00 was dealt part {part}, and learnt it from none" in lists[part]]
    assert dealt
    assert all("none matches: " in lists[part] for part in dealt)
