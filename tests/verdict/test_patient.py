"""Patient: who writes was complete first, then quiet for its period."""

from __future__ import annotations

from typing import Any

import pytest

from tests.verdict.alterations import (
    Damage,
    drop,
    journal_part,
    lose_journal,
    nothing_written,
    renumber,
    rows,
    wait_incomplete,
)
from tests.verdict.judged import assert_convicted, assert_unproven, verdict_on
from tests.verdict.scribe import ROBOTS, Files


def quiet_of(files: Files) -> dict[str, Any]:
    return rows(files, "journals", robot="r01", entry="quiet")[0]


def shift_clock(files: Files, robot: str, by_us: int) -> None:
    """Let the robot's own clock have been so much ahead of the server's."""
    for row in files["journals"]:
        if row["robot"] == robot and "at_us" in row:
            row["at_us"] += by_us


def write_without_quiet(files: Files) -> None:
    drop(files, "journals", quiet_of(files))


def merge_while_waiting(files: Files) -> None:
    part = journal_part(files, "r01", 2)
    drop(files, "journals", part)
    files["journals"].insert(files["journals"].index(quiet_of(files)), part)
    renumber(files, "r01")


def try_without_quiet(files: Files) -> None:
    drop(files, "journals", rows(files, "journals", robot="r00", entry="quiet")[0])


def rush(files: Files) -> None:
    complete = rows(files, "journals", robot="r01", entry="complete")[0]
    complete["at_us"] = quiet_of(files)["at_us"] - 100_000


BREACHES: dict[str, tuple[Damage, str]] = {
    "a write without quiet": (write_without_quiet, "journal of r01"),
    "too few quiet ticks": (lambda f: quiet_of(f).update(ticks=9), "journal of r01"),
    "a part while waiting": (merge_while_waiting, "journal of r01"),
    "waiting before being complete": (wait_incomplete, "journal of r01"),
    "a refused try without quiet": (try_without_quiet, "journal of r00, life 1"),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_convicted_with_a_witness(breach: str, files: Files) -> None:
    assert_convicted(files, "patient", *BREACHES[breach])


DOUBTS: dict[str, tuple[Damage, str]] = {
    "no writer": (nothing_written, "nothing was written"),
    "the writer's lost journal": (lambda f: lose_journal(f, "r01"), "r01"),
    "a quiet that is recorded after the write": (
        lambda f: quiet_of(f).update(at_us=quiet_of(f)["at_us"] + 1_000_001),
        "clocks of r01 and of the server disagree",
    ),
    "ticks that had no time": (rush, "clock and the ticks of r01 disagree"),
    "a loser's lost journal": (lambda f: lose_journal(f, "r00"), "journal of r00, which tried to write"),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_what_cannot_be_shown_is_unproven_with_the_reason(doubt: str, files: Files) -> None:
    assert_unproven(files, "patient", *DOUBTS[doubt])


@pytest.mark.parametrize("by_us", [-100_000, 100_000, -1_000_000, 1_000_000])
def test_clocks_that_differ_a_little_convict_no_writer(by_us: int, files: Files) -> None:
    for robot in ROBOTS:
        shift_clock(files, robot, by_us)
    assert verdict_on(files).promises["patient"].state == "HELD"


def test_clocks_alone_never_convict(files: Files) -> None:
    for by_us in (-3_600_000_000, 3_600_000_000):
        shift_clock(files, "r01", by_us)
        assert verdict_on(files).promises["patient"].state != "BROKEN"
