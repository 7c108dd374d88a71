"""Membership: robots that join are named, and judged by every promise that they had the time for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from broker.ports.robot import Order
from broker.ports.run import Evidence
from robots.run.record_rows import streams
from telemetry.plain.verdict import verdict_lines
from tests.verdict.alterations import death, drop, journal_part, lose_journal, named, renumber, rows
from tests.verdict.growing_record import begun, grown, wait, written_by
from tests.verdict.judged import finding, state, verdict_on
from tests.verdict.scribe import END_MS, GO_MS, LATE_MS, ROBOTS, TICK_US, WORDS, Files, files_of

SETTLING_MS = 20 * TICK_US // 1000


def joined_before_the_end(by_ms: int) -> Files:
    """A record of a run that r03 joined so long before the stop that it learnt nothing, at best."""
    scribe = begun()
    scribe.now_ms = GO_MS + 1_500
    scribe.write("r01")
    scribe.now_ms = END_MS - by_ms - 3  # the order, the birth's entry, and its own first millisecond
    scribe.join("r03")
    scribe.now_ms = END_MS - by_ms - 1
    scribe.born("r03")
    scribe.end(END_MS, *ROBOTS, "r03")
    return files_of(scribe)


def reasons(files: Files, word: str) -> dict[str, str]:
    """The promises that are UNPROVEN, and whose reason has `word`."""
    promises = verdict_on(files).promises
    return {name: each.why for name, each in promises.items() if each.state == "UNPROVEN" and word in each.why}


# Who joined.


def test_a_run_that_a_robot_joins_is_held_and_names_it(grown_files: Files) -> None:
    # Given a robot that joined with empty hands, and learnt everything
    assert journal_part(grown_files, "r03", 2)["cause"]
    # When the run is judged
    result = verdict_on(grown_files)
    # Then all is HELD, the joiner was in scope as well, and it is named
    assert {name: promise.why for name, promise in result.promises.items() if promise.state != "HELD"} == {}
    assert "all 4 robots in scope are complete" in result.promises["convergent"].why
    assert (result.robots, result.whole_run.joined) == (3, ["r03"])
    assert "  joined      r03" in list(verdict_lines(result.json))
    # And a run that no robot joined names none
    alone = verdict_on(written_by(begun(), "r01"))
    assert (alone.verdict, alone.whole_run.joined) == ("HELD", [])
    assert not any("joined" in line for line in verdict_lines(alone.json))


def test_a_robot_that_joins_a_closed_run_breaks_supervised(grown_files: Files) -> None:
    # Given a record of a run that was dealt as closed, and that r03 joined
    grown_files["settings"]["closed"] = True
    found = ("BROKEN", "r03 joined the run, which was dealt as closed (witness: order joined r03)")
    assert finding(grown_files, "supervised") == found
    # When an order says so, and no journal, then any client may have written it: that is no evidence
    be_dealt_by_its_journal(grown_files)
    assert finding(grown_files, "supervised")[0] != "BROKEN"


def test_joiners_are_named_by_their_numbers() -> None:
    scribe = begun()
    for robot in ("r11", "r04", "r100"):
        scribe.join(robot)
    result = verdict_on(written_by(scribe, "r01"))
    assert result.whole_run.joined == ["r04", "r11", "r100"]
    assert "  joined      r04, r11, r100" in list(verdict_lines(result.json))


def test_an_order_whose_reply_was_lost_may_stand_there_twice(grown_files: Files) -> None:
    order = next(row for row in grown_files["streams"]["orders"] if row["order"] == "joined")
    grown_files["streams"]["orders"].append({**order, "id": f"{GO_MS + 900}-0"})
    assert verdict_on(grown_files).verdict == "HELD"


def test_the_times_of_a_run_are_those_of_the_dealt_robots_and_lives_those_of_all(grown_files: Files) -> None:
    # Given the times of the dealt robots
    completed = [row["at_us"] for row in rows(grown_files, "journals", entry="complete") if row["robot"] != "r03"]
    # When a joiner completes long after them, and lives twice
    rows(grown_files, "journals", robot="r03", entry="complete")[0]["at_us"] = (END_MS - 1) * 1000
    grown_files["journals"].append({"robot": "r03", "id": "2-1", "entry": "born", "nonce": "r03-2"})
    # Then it changes the lives, and not the times
    result = verdict_on(grown_files)
    assert result.seconds.all_complete == (max(completed) - GO_MS * 1000) / 1e6
    assert result.whole_run.lives == {"r03": 2}


def have_no_order(files: Files) -> None:
    files["streams"]["orders"] = [row for row in files["streams"]["orders"] if row["order"] != "joined"]


def be_dealt_by_its_journal(files: Files) -> None:
    rows(files, "journals", robot="r03", entry="header")[0]["origin"] = "dealt"


def join_from_the_beginning(files: Files) -> None:
    rows(files, "journals", robot="r00", entry="header")[0]["origin"] = "joined"


def order(files: Files, reason: str | None) -> None:
    files["streams"]["orders"].append({"id": f"{GO_MS + 900}-0", "order": "joined", "reason": reason})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (have_no_order, "the journal of r03 says that it joined, and no order does"),
        (be_dealt_by_its_journal, "an order says that r03 joined, and its journal says that it was dealt"),
        (
            lambda files: lose_journal(files, "r03", row=False),
            "an order says that r03 joined, and its journal is",
        ),
        (lambda files: lose_journal(files, "r03"), "the journal of r03 was lost"),
        (lambda files: files["register"]["births"].pop("r03"), "the birth stream of r03 is not in the record"),
        (lambda files: files["streams"]["inboxes"].pop("r03"), "the entries of r03's inbox were not counted"),
        (lambda files: order(files, "r04"), "an order says that r04 joined, and its journal is not in the record"),
        (lambda files: order(files, "r00"), "an order says that r00 joined, and it was there from the beginning"),
        (lambda files: order(files, "x\x1b"), r"an order says that 'x\x1b' joined, which is no robot's name"),
        (lambda files: order(files, None), "an order says that '' joined, which is no robot's name"),
        (join_from_the_beginning, "the journal of r00 says that it joined, and no order does"),
        (
            lambda files: files.pop("streams"),
            "the journal of r03 says that it joined, and no order shows it: streams.json is missing",
        ),
    ],
)
def test_orders_and_journals_must_name_the_same_joiners(
    change: Callable[[Files], Any], why: str, grown_files: Files
) -> None:
    change(grown_files)
    assert verdict_on(grown_files).verdict == "UNPROVEN"
    assert reasons(grown_files, why)


def test_the_record_keeps_the_robot_that_an_order_names() -> None:
    evidence = Evidence({}, {}, {}, {}, True, None, {}, {}, [Order("5-0", "joined", b"r06")], [])  # type: ignore[arg-type]
    assert streams(evidence)["orders"] == [{"id": "5-0", "order": "joined", "reason": "r06"}]


# What is required of joiners.


def forget_a_part(files: Files) -> None:
    drop(files, "journals", journal_part(files, "r03", 1))


def change_a_part(files: Files) -> None:
    files["journals"].append({**journal_part(files, "r03", 1), "id": "1-6", "word": "other"})


def learn_a_word_that_was_never_dealt(files: Files) -> None:
    journal_part(files, "r03", 1)["word"] = "other"


def begin_with_a_part(files: Files) -> None:
    header = rows(files, "journals", robot="r03", entry="header")[0]
    part = {"entry": "part", "index": 0, "word": WORDS[0], "last": False, "cause": None}
    files["journals"].insert(files["journals"].index(header) + 1, {"robot": "r03", "id": "0-2", **part})


def learn_it_twice(files: Files) -> None:
    files["journals"].append({**journal_part(files, "r03", 1), "id": "1-6"})


def learn_from_no_copy(files: Files) -> None:
    journal_part(files, "r03", 1)["cause"] = None


def journal_as_an_older_life(files: Files) -> None:
    files["journals"].append({"robot": "r03", "id": "2-1", "entry": "born", "nonce": "r03-2"})
    files["journals"].append({"robot": "r03", "id": "1-6", "entry": "complete", "at_us": GO_MS * 1000})


@pytest.mark.parametrize(
    ("promise", "change"),
    [
        ("monotonic", forget_a_part),
        ("monotonic", change_a_part),
        ("monotonic", begin_with_a_part),
        ("unique", learn_a_word_that_was_never_dealt),
        ("idempotent", learn_it_twice),
        ("idempotent", learn_from_no_copy),
        ("fenced", journal_as_an_older_life),
        ("supervised", lambda files: death(files, "r03", 1, END_MS - LATE_MS - 1)),
        ("accounted", lambda files: files["streams"]["inboxes"]["r03"].update(added=99)),
    ],
)
def test_every_promise_covers_a_joiner(promise: str, change: Callable[[Files], Any], grown_files: Files) -> None:
    assert state(grown_files, promise) == "HELD"
    change(grown_files)
    found = finding(grown_files, promise)
    assert (found[0], "r03" in found[1]) == ("BROKEN", True), found


def test_a_joiner_may_write_the_secret_and_is_judged_like_any_writer() -> None:
    # Given a run whose writer had joined
    files = grown("r03")
    assert verdict_on(files).verdict == "HELD"
    assert verdict_on(files).winner == "r03"
    # When it was quiet for too short a time, lacked a part, or another reported that it wrote, then it is convicted
    rows(files, "journals", robot="r03", entry="quiet")[0]["ticks"] = 9
    assert state(files, "patient") == "BROKEN"
    files = grown("r03")
    drop(files, "journals", journal_part(files, "r03", 1))
    renumber(files, "r03")
    assert "r03 was not complete when it began to wait" in finding(files, "patient")[1]
    files = grown("r03")
    named(files, "secret.written")[0]["source"] = "r00"
    assert state(files, "once") == "BROKEN"


def test_a_joiner_that_tries_to_write_without_being_quiet_is_convicted(grown_files: Files) -> None:
    grown_files["register"]["births"]["r03"].append({"id": "1-2", "entry": "attempt", "nonce": "r03-1", "at_us": None})
    grown_files["events"].append(
        {**named(grown_files, "robot.left", "r03")[0], "number": 99, "event": {"name": "secret.refused"}}
    )
    assert finding(grown_files, "patient")[0] == "BROKEN"
    assert "r03 tried to write without having been quiet" in finding(grown_files, "patient")[1]


@pytest.mark.parametrize(("by_ms", "expected"), [(SETTLING_MS, "BROKEN"), (SETTLING_MS - 1, "HELD"), (1, "HELD")])
def test_a_joiner_must_be_complete_if_it_had_the_time(by_ms: int, expected: str) -> None:
    # Given a robot that joined so long before the end and learnt nothing
    files = joined_before_the_end(by_ms)
    assert rows(files, "plan", robot="r03")[0]["id"] == f"{END_MS - by_ms}-0"
    # When it is judged, then only one that had twenty ticks is in scope, and any other is named
    found = finding(files, "convergent")
    assert found[0] == expected, found
    assert ("joined too late to be in scope: r03" in found[1]) == (expected == "HELD")
    assert ("r03 is not complete" in found[1]) == (expected == "BROKEN")


def test_a_joiner_that_came_too_late_is_no_witness_of_parts() -> None:
    # Given a part that at the end only a robot holds that joined too late
    files = joined_before_the_end(SETTLING_MS - 1)
    for robot in ROBOTS:
        for row in rows(files, "journals", robot=robot, index=1) + rows(files, "journals", robot=robot, index=2):
            drop(files, "journals", row)
    # Then no robot is convicted for lacking it
    assert state(files, "convergent") == "UNPROVEN"


def test_a_joiner_that_was_never_born_is_named_and_out_of_scope() -> None:
    # Given a robot that joined by an order, and found no RQ worker
    scribe = begun()
    scribe.join("r03")
    files = written_by(scribe, "r01")
    # Then nothing is required of it
    assert verdict_on(files).verdict == "HELD"
    assert finding(files, "convergent")[1].endswith("all 3 robots in scope are complete; joined, and never born: r03")
    # When it was reported to wait, then that is the reason
    wait(files, "r03", GO_MS + 700)
    assert finding(files, "convergent")[1].endswith("; waiting for an RQ worker at the end: r03")


def test_a_joiner_that_died_before_the_end_is_out_of_scope(grown_files: Files) -> None:
    drop(grown_files, "events", named(grown_files, "robot.left", "r03")[0])
    death(grown_files, "r03", 1, END_MS - 500)
    drop(grown_files, "journals", journal_part(grown_files, "r03", 1))
    found = finding(grown_files, "convergent")
    assert (found[0], found[1].endswith("; 1 were not alive")) == ("HELD", True), found
