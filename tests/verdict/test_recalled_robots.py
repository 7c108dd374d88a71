"""Robots that are requeued: a recalled robot is born again, waits for an RQ worker, or is out of scope."""

from __future__ import annotations

import pytest

from telemetry.events import RobotLeft
from tests.support.fault_words import fault_words
from tests.verdict.alterations import death, drop, journal_part, named, renumber, rows
from tests.verdict.growing_record import begun, wait
from tests.verdict.judged import finding, state, verdict_on
from tests.verdict.scribe import END_MS, GO_MS, LATE_MS, ROBOTS, Files, files_of


def recalled(by_ms: int, reborn_ms: int | None = None) -> Files:
    """A record in which r02's RQ worker was ordered to end so long before the stop; r02 is born again after so long."""
    scribe = begun()
    scribe.now_ms = GO_MS + 1_500
    scribe.write("r01")
    scribe.now_ms = END_MS - by_ms
    scribe.emit("r02", RobotLeft("recalled"))
    if reborn_ms is not None:
        scribe.now_ms += reborn_ms
        scribe.born("r02")
        scribe.end(END_MS, *ROBOTS)
    else:
        scribe.end(END_MS, "r00", "r01")
    return files_of(scribe)


@pytest.mark.parametrize("reborn_ms", [10, 20_000])
def test_a_robot_that_was_recalled_and_born_again_is_held(reborn_ms: int) -> None:
    files = recalled(30_000, reborn_ms)
    assert verdict_on(files).verdict == "HELD"
    assert "all 3 robots in scope" in finding(files, "convergent")[1]
    assert verdict_on(files).whole_run.lives == {"r02": 2}


@pytest.mark.parametrize(("by_ms", "expected"), [(LATE_MS + 1, "UNPROVEN"), (LATE_MS, "HELD")])
def test_a_robot_that_was_recalled_is_born_again_unless_the_run_ends_first(by_ms: int, expected: str) -> None:
    # Given a robot that was recalled, and not born again in the rest of the run
    files = recalled(by_ms)
    # Then no promise is broken, but nothing shows either that no RQ worker could have taken it
    assert state(files) == expected
    if expected == "UNPROVEN":
        assert finding(files)[1] == "r02 was recalled, and not born again in 5.03 s, nor reported to wait"
    # And it is out of scope, even if it is not complete
    drop(files, "journals", journal_part(files, "r02", 0))
    drop(files, "journals", rows(files, "journals", robot="r02", entry="complete")[0])
    renumber(files, "r02")
    found = finding(files, "convergent")
    assert (found[0], found[1].endswith("; recalled, and not born again: r02")) == ("HELD", True), found


def test_a_robot_that_was_recalled_and_reported_to_wait_waits() -> None:
    files = recalled(9_000)
    # Given a report that it waits from before, and one on another robot
    wait(files, "r02", END_MS - 9_000 - 1_001)
    wait(files, "r00", END_MS - 8_000)
    assert "nor reported to wait" in finding(files)[1]
    # When it is reported to wait since, then that is the reason
    wait(files, "r02", END_MS - 8_000)
    why = "r02 waits since it was recalled: no RQ worker is free; no living robot holds part 0"
    assert finding(files) == ("UNPROVEN", why)
    assert finding(files, "convergent")[1].endswith("; waiting for an RQ worker at the end: r02")


def test_the_absence_of_the_server_is_no_time_for_a_birth() -> None:
    files = recalled(20_000)
    assert state(files) == "UNPROVEN"
    files["fleet"].append(
        {"id": f"{END_MS - LATE_MS}-0", "row": "injection", **fault_words("restart redis"), "victim": "redis"}
    )
    assert state(files) == "HELD"


def test_a_robot_that_was_recalled_before_its_last_life_is_not_missed() -> None:
    # Given a robot that was recalled, born again, and died at last
    files = recalled(30_000, 10)
    drop(files, "events", named(files, "robot.left", "r02")[1])
    death(files, "r02", 2, END_MS - 1_000)
    # Then it is one that is not alive
    assert finding(files, "convergent")[1].endswith("; 1 were not alive")
    assert state(files) == "HELD"
