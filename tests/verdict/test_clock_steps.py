"""Clocks that were set, or that stood still while a host slept: what the record shows of them, and what it excuses."""

from __future__ import annotations

from typing import Any

import pytest

from telemetry.verdict.case import Case, case_of
from telemetry.verdict.checks.clock_steps import clock_steps, set_back_us, was_server_set_back
from tests.verdict.judged import finding
from tests.verdict.planned_record import planned
from tests.verdict.scribe import GO_MS, Files

PLAN = ["loss 0.1", "partition hold r00|r01 @15s+2s", "kill r02 @16s"]


def case(files: Files) -> Case:
    return case_of("runs/abc123", files, None)


def set_clocks(value: Any, at_ms: int, by_ms: int) -> Any:
    """A record's value, as if wall clocks and the server's had been set by so much then: times and ids."""
    if isinstance(value, dict):
        return {key: _set(key, each, at_ms, by_ms) for key, each in value.items()}
    return [set_clocks(each, at_ms, by_ms) for each in value] if isinstance(value, list | tuple) else value


def _set(key: str, value: Any, at_ms: int, by_ms: int) -> Any:
    if key in ("wall_us", "at_us") and isinstance(value, int):
        return value + by_ms * 1000 * (value > at_ms * 1000)
    if key in ("id", "request_id", "entry") and isinstance(value, str):
        ms, _, number = value.partition("-")
        is_time = ms.isdigit() and int(ms) > GO_MS // 2  # a life's entries have small ids
        return f"{int(ms) + by_ms * (int(ms) > at_ms)}-{number}" if is_time else value
    return set_clocks(value, at_ms, by_ms)


def test_an_honest_record_shows_no_step(files: Files) -> None:
    assert list(clock_steps(case(files))) == []
    assert (set_back_us(case(files)), was_server_set_back(case(files))) == (0, False)


@pytest.mark.parametrize("by_ms", [-5_000, 5_000])
def test_each_life_shows_when_its_clock_was_set_and_by_how_much(by_ms: int, files: Files) -> None:
    at_us = (GO_MS + 1_500) * 1000
    for row in files["events"]:
        row["wall_us"] += by_ms * 1000 * (row["wall_us"] > at_us)
    steps = list(clock_steps(case(files)))
    assert {step.by_us for step in steps} == {by_ms * 1000}
    assert all(step.from_us <= at_us < step.until_us - by_ms * 1000 for step in steps)
    assert set_back_us(case(files)) == max(0, -by_ms * 1000)


@pytest.mark.parametrize("file", ["events", "journals"])
def test_a_record_without_its_events_or_lives_shows_no_step(file: str, files: Files) -> None:
    files["events"][-1]["wall_us"] += 9_000_000
    del files[file]
    assert list(clock_steps(case(files))) == []


def test_faults_that_seem_late_after_a_host_slept_are_not_charged_to_the_leader() -> None:
    # Given a plan that is played in time, on a host that slept for ten seconds long before
    assert finding(planned(PLAN, seconds=19), "played")[0] == "HELD"
    slept = set_clocks(planned(PLAN, seconds=19), GO_MS + 2_000, 10_000)
    # Then the times since `go` are not known
    found, why = finding(slept, "played")
    assert (found, "a host's clock was set" in why) == ("UNPROVEN", True), why


def test_a_fault_that_was_due_before_a_clock_was_set_is_charged() -> None:
    # Given a kill that was left out, and a clock that was set later
    files = planned(PLAN, seconds=60)
    files["fleet"] = [row for row in files["fleet"] if row["row"] != "injection"]
    later = set_clocks(files, GO_MS + 50_000, 10_000)
    assert finding(later, "played")[0] == "BROKEN"
