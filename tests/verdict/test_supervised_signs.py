"""Supervised, by signs of life: what a supervisor reports, workers must show."""

from __future__ import annotations

from typing import Any

import pytest

from telemetry.events import (
    AnyEvent,
    InboxOverflowed,
    MessageDropped,
    MessageReceived,
    MessageSent,
    MessageTrimmed,
    WorkerCrashed,
    WorkerLeft,
    WorkerRestarted,
    WorkerStarted,
)
from telemetry.verdict.promises.supervised_signs import WORKERS
from tests.verdict.alterations import drop, fleet_row, injection, insert_event, named, rows
from tests.verdict.judged import finding, state
from tests.verdict.scribe import BASE_MS, END_MS, Files

CRASHED_MS, DELAY_MS = 1_000, 20
CRASHED = WorkerCrashed("inbox_reader", "InjectedCrash: injected")
RESTARTED = WorkerRestarted("inbox_reader", 0, DELAY_MS * 1000)
STARTED = WorkerStarted("inbox_reader")
WENT_ON = MessageTrimmed("1-1")
LEFT_MS = END_MS - BASE_MS
ASKED_MS = BASE_MS + CRASHED_MS + 10_000


def report(files: Files, at_ms: int, event: AnyEvent) -> None:
    """Let r00/1 have reported this before it left, at that time of its own clocks."""
    insert_event(files, "r00", 1, event, at_ms * 1000)
    added = max((row for row in own(files) if row["event"]["name"] != "robot.left"), key=lambda row: row["number"])
    added["wall_us"] = (BASE_MS + at_ms) * 1000


def own(files: Files) -> list[dict[str, Any]]:
    return [row for row in files["events"] if (row["source"], row["incarnation"]) == ("r00", 1)]


def leave_at(files: Files, at_ms: int) -> None:
    named(files, "robot.left", "r00")[0].update(wall_us=(BASE_MS + at_ms) * 1000, monotonic_us=at_ms * 1000)


def forget(files: Files, worker: str) -> None:
    """Let the worker not have been there at the end of r00/1."""
    [gone] = [row for row in named(files, "worker.left", "r00") if row["event"]["worker"] == worker]
    drop(files, "events", gone)
    for row in own(files):
        row["number"] -= row["number"] > gone["number"]


@pytest.fixture
def crashed_files(longer_files: Files) -> Files:
    """A worker of r00/1 crashed, and was restarted; the life went on for a minute."""
    leave_at(longer_files, LEFT_MS)
    report(longer_files, CRASHED_MS, CRASHED)
    report(longer_files, CRASHED_MS, RESTARTED)
    return longer_files


@pytest.mark.parametrize(("late_ms", "expected"), [(0, "HELD"), (3_000, "HELD"), (3_001, "BROKEN")])
def test_a_restarted_worker_reports_soon_that_it_runs(late_ms: int, expected: str, crashed_files: Files) -> None:
    report(crashed_files, CRASHED_MS + DELAY_MS + late_ms, WENT_ON)
    report(crashed_files, CRASHED_MS + DELAY_MS + late_ms, STARTED)
    assert state(crashed_files) == expected
    assert expected == "HELD" or "inbox_reader of r00/1 was to be restarted after 0.02 s" in finding(crashed_files)[1]


def test_a_process_that_stood_still_restarted_its_worker_in_time(crashed_files: Files) -> None:
    report(crashed_files, CRASHED_MS + DELAY_MS + 9_000, STARTED)
    assert state(crashed_files) == "HELD"


def test_a_restart_that_only_the_supervisor_reports_is_broken(crashed_files: Files) -> None:
    forget(crashed_files, "inbox_reader")
    assert state(crashed_files) == "BROKEN"
    # Also when another worker reports that it runs
    report(crashed_files, CRASHED_MS + DELAY_MS, WorkerStarted("outbox_writer"))
    assert state(crashed_files) == "BROKEN"


def test_a_worker_that_crashed_again_was_restarted(crashed_files: Files) -> None:
    report(crashed_files, CRASHED_MS + 2_000, CRASHED)
    report(crashed_files, CRASHED_MS + 2_000, RESTARTED)
    report(crashed_files, CRASHED_MS + 2_020, STARTED)
    assert state(crashed_files) == "HELD"


@pytest.mark.parametrize(("before_ms", "expected"), [(3_020, "BROKEN"), (3_019, "HELD"), (1, "HELD")])
def test_a_worker_that_is_not_due_yet_need_not_live_at_the_end(
    before_ms: int, expected: str, longer_files: Files
) -> None:
    # Given a worker that crashed so long before its life ended, and never ran again
    leave_at(longer_files, LEFT_MS)
    forget(longer_files, "inbox_reader")
    for event in (CRASHED, RESTARTED):
        report(longer_files, LEFT_MS - before_ms, event)
    # Then it had to live if its delay and the longest standstill were over
    assert state(longer_files) == expected


@pytest.mark.parametrize("worker", WORKERS)
def test_every_worker_lives_when_its_life_ends_in_order(worker: str, longer_files: Files) -> None:
    # Given a worker that is not there at the end, though no crash was ever reported
    forget(longer_files, worker)
    assert state(longer_files) == "BROKEN"
    assert f"{worker} of r00/1 did not live when the life ended in order, and no crash" in finding(longer_files)[1]


def test_a_life_that_did_not_end_in_order_need_not_show_its_workers(files: Files) -> None:
    # Given r02/1, which was killed
    assert not [row for row in named(files, "worker.left", "r02") if row["incarnation"] == 1]
    assert state(files) == "HELD"


def test_missing_events_are_a_doubt_and_convict_no_robot(crashed_files: Files) -> None:
    report(crashed_files, CRASHED_MS + DELAY_MS, STARTED)
    forget(crashed_files, "secret_merger")
    [started] = named(crashed_files, "worker.started", "r00")
    drop(crashed_files, "events", started)
    assert finding(crashed_files) == ("UNPROVEN", f"event {started['number']} of r00/1 is not in the record")


# Fates.


def ask(files: Files, times: int, answered: int = 0) -> None:
    """Let r01 have sent r00 so many summaries from 10 s after the crash on, and r00 so many answers."""
    one = {**rows(files, "fates", sender="r01", receiver="r00")[-1], "kind": "summary", "fate": "delivered"}
    for number in range(times):
        files["fates"].append(one | {"id": f"{ASKED_MS + number}-0", "sequence": 900 + number, "deliveries": [5_000]})
    reply = {**rows(files, "fates", sender="r00", receiver="r01")[-1], "kind": "answer"}
    for number in range(answered):
        files["fates"].append(reply | {"id": f"{ASKED_MS + number}-1", "sequence": 900 + number})


def receive(files: Files, sent_ms: int, put_ms: int) -> None:
    """Let r02 have received an update that r01 sent then, and that r01's relay put into the inbox so late."""
    one = {**rows(files, "fates", sender="r01", receiver="r02")[-1], "kind": "update", "fate": "delivered"}
    files["fates"].append(one | {"id": f"{sent_ms}-0", "sequence": 950, "deliveries": [0]})
    event = MessageReceived("r01", 1, 950, 0, "update", "00" * 8, 0, f"{put_ms}-0")
    insert_event(files, "r02", 2, event, (put_ms - BASE_MS) * 1000)


@pytest.fixture
def signed_files(crashed_files: Files) -> Files:
    """All workers of r00/1 show all signs that they report themselves."""
    report(crashed_files, CRASHED_MS + DELAY_MS, STARTED)
    return crashed_files


@pytest.fixture
def asked_files(signed_files: Files) -> Files:
    """Five summaries came to r00/1, which a later envelope of their outbox proves, and it answered none."""
    ask(signed_files, 5)
    receive(signed_files, ASKED_MS + 100, ASKED_MS + 100)
    return signed_files


@pytest.mark.parametrize(("times", "answered", "expected"), [(5, 0, "BROKEN"), (4, 0, "HELD"), (5, 1, "HELD")])
def test_a_life_that_goes_on_after_a_crash_answers(
    times: int, answered: int, expected: str, signed_files: Files
) -> None:
    ask(signed_files, times, answered)
    receive(signed_files, ASKED_MS + 100, ASKED_MS + 100)
    assert state(signed_files) == expected
    assert expected == "HELD" or "5 summaries came to it in" in finding(signed_files)[1]


@pytest.mark.parametrize(("ended_ms", "expected"), [(2_000, "HELD"), (4_000, "BROKEN")])
def test_a_life_ends_when_it_handles_the_order_however_long_that_takes(
    ended_ms: int, expected: str, longer_files: Files
) -> None:
    # Given a worker that crashed and did not run again, in a life that began to end so long after, and left much later
    leave_at(longer_files, LEFT_MS)
    forget(longer_files, "inbox_reader")
    report(longer_files, CRASHED_MS, CRASHED)
    report(longer_files, CRASHED_MS, RESTARTED)
    report(longer_files, CRASHED_MS + ended_ms, WorkerLeft("orders"))
    # Then only the time until it began to end counts
    assert state(longer_files) == expected


def test_what_did_not_come_undamaged_needs_no_answer(asked_files: Files) -> None:
    assert state(asked_files) == "BROKEN"
    last = rows(asked_files, "fates", sender="r01", sequence=904)[0]
    last |= {"fate": "lost", "deliveries": []}
    assert state(asked_files) == "HELD"
    last |= {"deliveries": [5_000], "fate": "corrupt"}
    assert state(asked_files) == "HELD"


def test_summaries_that_were_due_and_may_not_have_come_need_no_answer(signed_files: Files) -> None:
    # Given five summaries with fates, and no later envelope of their outbox that came anywhere
    ask(signed_files, 5)
    assert state(signed_files) == "HELD"
    # And one that came, but was sent before the last of them was due
    receive(signed_files, ASKED_MS + 8, ASKED_MS + 8)
    assert state(signed_files) == "HELD"


def test_a_relay_that_lags_until_the_end_is_no_fault_of_a_robot(signed_files: Files) -> None:
    ask(signed_files, 5)
    receive(signed_files, ASKED_MS + 100, END_MS - 3_000)
    assert state(signed_files) == "HELD"


def test_answers_that_only_the_life_reports_are_answers(asked_files: Files) -> None:
    # Given an answer that the relay of r00 has not decided
    report(asked_files, CRASHED_MS + 12_000, MessageSent("r01", 99, "answer", "00" * 8, 0, 10, 0))
    assert state(asked_files) == "HELD"


@pytest.mark.parametrize("victim", ["r00", "rq:r00", "redis", "relay:0", "relay:1"])
def test_a_life_that_was_disturbed_is_not_judged_by_its_answers(victim: str, asked_files: Files) -> None:
    # Also not when it was the relay of those who ask
    injection(asked_files, f"pause {victim}", victim, BASE_MS + CRASHED_MS + 9_000)
    assert state(asked_files) == "HELD"


def test_a_death_of_its_relay_explains_missing_answers(asked_files: Files) -> None:
    at_ms = BASE_MS + CRASHED_MS + 9_000
    fleet_row(asked_files, at_ms, row="death", victim="relay:0", robot="", incarnation=0, how="exit", status=0)
    assert state(asked_files) == "HELD"


@pytest.mark.parametrize(
    "lost", [MessageDropped("r01", 9, "answer", "00" * 8, "the outbox is full", 0), InboxOverflowed(5)]
)
def test_a_life_that_lost_envelopes_is_not_judged_by_its_answers(lost: AnyEvent, asked_files: Files) -> None:
    report(asked_files, CRASHED_MS + 9_000, lost)
    assert state(asked_files) == "HELD"


def test_a_worker_that_left_is_no_proof_that_another_did(longer_files: Files) -> None:
    forget(longer_files, "secret_merger")
    report(longer_files, 3_000, WorkerLeft("inbox_reader"))
    assert state(longer_files) == "BROKEN"
