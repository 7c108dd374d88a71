"""Unique: a part that a robot holds is the one that was dealt, and a contradiction is answered."""

from __future__ import annotations

import pytest

from telemetry.events import (
    AnyEvent,
    FaultInjected,
    InboxOverflowed,
    InjectionFailed,
    InvariantViolated,
    MessageReceived,
    WorkerCrashed,
    WorkerRestarted,
    WorkerStarted,
)
from tests.verdict.alterations import (
    Damage,
    death,
    drop,
    injection,
    insert_event,
    journal_part,
    know_two_words,
    lose_journal,
    named,
    reported,
    rows,
)
from tests.verdict.judged import assert_convicted, assert_unproven, finding, state, verdict_on
from tests.verdict.scribe import BASE_MS, GO_MS, Files


def swallow_a_contradiction(files: Files) -> None:
    insert_event(files, "r00", 1, InvariantViolated("unique", "", 0, "r01", 1, 1, 0), 300_000)


def two_ends(files: Files) -> None:
    part = journal_part(files, "r00", 1)
    part["last"] = True


FALSE_LIFE = 1 << 32
PUT_MS = GO_MS + 5_000
"""When the lab puts a contradictory update into r00's inbox, in a run that goes on for a minute."""


def contradict(files: Files, at_ms: int = PUT_MS, is_reported: bool = True) -> None:
    """Let a contradictory update have been put into r00's inbox, a millisecond after it was recorded."""
    injection(files, "contradict r00", "r00", at_ms)
    if is_reported:
        reported(files, FaultInjected("contradict", "r00", "r00"), at_ms + 1)


def refuse(files: Files, at_ms: int, sequence: int = 1, sender_life: int = FALSE_LIFE) -> None:
    """Let r00 have refused such an update then, and restarted its merger."""
    violation = InvariantViolated("unique", "", 0, "r01", sender_life, sequence, 0)
    for event in (
        violation,
        WorkerCrashed("secret_merger", "InvariantViolation: x"),
        WorkerRestarted("secret_merger", 1, 20_000),
        WorkerStarted("secret_merger"),
    ):
        show(files, event, at_ms)


def receive(files: Files, sent_ms: int, at_ms: int) -> None:
    """Let r00 have received an envelope of r01 that was sent and received then."""
    row = rows(files, "fates", sender="r01", receiver="r00")[-1]
    sequence = 500 + len(files["fates"])
    files["fates"].append(row | {"id": f"{sent_ms}-0", "sequence": sequence, "fate": "delivered", "deliveries": [0]})
    show(files, MessageReceived("r01", 1, sequence, 0, "answer", "00" * 8, 0, f"{at_ms}-0"), at_ms)


def show(files: Files, event: AnyEvent, at_ms: int) -> None:
    """Let r00/1 have emitted this then, before it left."""
    insert_event(files, "r00", 1, event, (at_ms - BASE_MS) * 1000)
    own = [row for row in files["events"] if row["source"] == "r00" and row["event"]["name"] != "robot.left"]
    max(own, key=lambda row: row["number"])["wall_us"] = at_ms * 1000


def leave_at(files: Files, at_ms: int) -> None:
    named(files, "robot.left", "r00")[0].update(wall_us=at_ms * 1000, monotonic_us=(at_ms - BASE_MS) * 1000)


def swallow_an_injected_contradiction(files: Files) -> None:
    leave_at(files, PUT_MS + 10_000)
    contradict(files)
    receive(files, PUT_MS + 2_000, PUT_MS + 2_001)


BREACHES: dict[str, tuple[Damage, str]] = {
    "a changed word": (lambda f: journal_part(f, "r00", 1).update(word="other "), "journal of r00"),
    "two words of one index": (know_two_words, "journal of r00"),
    "a part behind the last": (two_ends, "journal of r00"),
    "a contradiction without a restart": (swallow_a_contradiction, "of r00/1"),
    "an injected contradiction without a report": (swallow_an_injected_contradiction, f"injection {PUT_MS}-"),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_convicted_with_a_witness(breach: str, files: Files) -> None:
    assert_convicted(files, "unique", *BREACHES[breach])


DOUBTS: dict[str, tuple[Damage, str]] = {
    "a missing journal": (lambda f: lose_journal(f, "r02", row=False), "journal of r02 is not in the record"),
    "a tail without a death": (lambda f: drop(f, "events", named(f, "robot.left", "r00")[0]), "r00/1"),
    "a robot too many": (lambda f: f["settings"].update(robots=4), "journal of r03 is not in the record"),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_what_cannot_be_shown_is_unproven_with_the_reason(doubt: str, files: Files) -> None:
    assert_unproven(files, "unique", *DOUBTS[doubt])


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (WorkerRestarted("secret_merger", 1, 20_000), "HELD"),
        (WorkerRestarted("r00/secret_merger", 1, 20_000), "HELD"),
        (WorkerRestarted("inbox_reader", 1, 20_000), "BROKEN"),
    ],
)
def test_a_contradiction_is_answered_by_a_restart_of_its_worker(files: Files, answer: AnyEvent, state: str) -> None:
    swallow_a_contradiction(files)
    insert_event(files, "r00", 1, answer, 301_000)
    assert verdict_on(files).promises["unique"].state == state


def test_a_contradiction_at_the_very_end_needs_no_restart(files: Files) -> None:
    # Given a violation that is followed at once by the life's end
    left = named(files, "robot.left", "r00")[0]
    insert_event(files, "r00", 1, InvariantViolated("unique", "", 0, "r01", 1, 1, 0), left["monotonic_us"] - 5)
    # Then nothing went on that should not have
    assert verdict_on(files).promises["unique"].state == "HELD"


# Contradictory updates that the lab injected into r00.


@pytest.fixture
def contradicted(longer_files: Files) -> Files:
    """A contradictory update came to r00, which read on for ten seconds."""
    leave_at(longer_files, PUT_MS + 10_000)
    contradict(longer_files)
    receive(longer_files, PUT_MS + 2_000, PUT_MS + 2_001)
    return longer_files


def test_a_contradiction_is_met_by_a_report_of_its_victim(contradicted: Files) -> None:
    assert state(contradicted, "unique") == "BROKEN"
    before = verdict_on(contradicted).promises["unique"].tested
    refuse(contradicted, PUT_MS + 5)
    # Then it put the promise to the test, and is named
    found = verdict_on(contradicted).promises["unique"]
    assert (found.state, found.tested) == ("HELD", before + 1)
    assert found.why.endswith("; contradictory updates that were injected: 1")


@pytest.mark.parametrize(("at_ms", "life"), [(PUT_MS - 1_001, FALSE_LIFE), (PUT_MS + 5, 1)])
def test_a_report_of_another_update_meets_no_contradiction(at_ms: int, life: int, contradicted: Files) -> None:
    # Given a violation that was reported before, or by an update of a life that was born
    refuse(contradicted, at_ms, sender_life=life)
    assert state(contradicted, "unique") == "BROKEN"


def test_each_contradiction_needs_a_report_of_its_own(contradicted: Files) -> None:
    # Given two contradictions, of which the same one was reported twice
    contradict(contradicted, PUT_MS + 100)
    refuse(contradicted, PUT_MS + 5)
    refuse(contradicted, PUT_MS + 105)
    assert state(contradicted, "unique") == "BROKEN"
    # When each was reported
    refuse(contradicted, PUT_MS + 106, sequence=2)
    assert state(contradicted, "unique") == "HELD"


@pytest.mark.parametrize(
    ("sent_ms", "left_ms", "expected"),
    [
        (1_001, 4_000, "BROKEN"),
        (1_000, 4_000, "UNPROVEN"),  # by clocks that may differ, it may have come before
        (1_001, 3_000, "UNPROVEN"),  # the merger may not have come to it yet
        (None, 1_001, "UNPROVEN"),
        (None, 1_000, "HELD"),  # it had no time
    ],
)
def test_a_life_that_had_read_on_must_have_reported_it(
    sent_ms: int | None, left_ms: int, expected: str, longer_files: Files
) -> None:
    # Given a life that received something which was sent so long after the injection, and ended then
    leave_at(longer_files, PUT_MS + left_ms)
    contradict(longer_files)
    if sent_ms is not None:
        receive(longer_files, PUT_MS + sent_ms, PUT_MS + 1_002)
    assert state(longer_files, "unique") == expected


def test_an_injection_that_failed_asks_for_nothing(longer_files: Files) -> None:
    leave_at(longer_files, PUT_MS + 10_000)
    contradict(longer_files, is_reported=False)
    receive(longer_files, PUT_MS + 2_000, PUT_MS + 2_001)
    # Given an injection of which nothing shows that it was done
    assert state(longer_files, "unique") == "UNPROVEN"
    # When it is reported as failed, then nothing came
    reported(longer_files, InjectionFailed("contradict", "r00", "it cannot be done to r00 now"), PUT_MS + 1)
    assert state(longer_files, "unique") == "HELD"


def test_a_killed_life_may_have_lost_its_report(contradicted: Files) -> None:
    # Given a life that read nothing more before it was killed
    drop(contradicted, "events", named(contradicted, "message.received", "r00")[0])
    drop(contradicted, "events", named(contradicted, "robot.left", "r00")[0])
    death(contradicted, "r00", 1, PUT_MS + 500)
    assert finding(contradicted, "unique")[0] == "UNPROVEN"
    assert "r00/1 was killed after a contradictory update" in finding(contradicted, "unique")[1]


def test_a_life_that_was_dead_before_had_nothing_to_read(contradicted: Files) -> None:
    drop(contradicted, "events", named(contradicted, "message.received", "r00")[0])
    drop(contradicted, "events", named(contradicted, "robot.left", "r00")[0])
    death(contradicted, "r00", 1, PUT_MS - 1)
    assert finding(contradicted, "unique")[0] == "HELD"


def test_an_inbox_that_lost_entries_may_have_lost_the_contradiction(contradicted: Files) -> None:
    show(contradicted, InboxOverflowed(1), PUT_MS + 3)
    assert finding(contradicted, "unique")[0] == "UNPROVEN"
    assert "nothing shows whether it had read one" in finding(contradicted, "unique")[1]
