"""Unique: a part that a robot holds is the one that was dealt, and a contradiction is answered."""

from __future__ import annotations

import pytest

from telemetry.events import AnyEvent, InvariantViolated, WorkerRestarted
from tests.verdict.alterations import Damage, drop, insert_event, journal_part, know_two_words, lose_journal, named
from tests.verdict.judged import assert_convicted, assert_unproven, verdict_on
from tests.verdict.scribe import Files


def swallow_a_contradiction(files: Files) -> None:
    insert_event(files, "r00", 1, InvariantViolated("unique", "", 0, "r01", 1, 1, 0), 300_000)


def two_ends(files: Files) -> None:
    part = journal_part(files, "r00", 1)
    part["last"] = True


BREACHES: dict[str, tuple[Damage, str]] = {
    "a changed word": (lambda f: journal_part(f, "r00", 1).update(word="other "), "journal of r00"),
    "two words of one index": (know_two_words, "journal of r00"),
    "a part behind the last": (two_ends, "journal of r00"),
    "a contradiction without a restart": (swallow_a_contradiction, "of r00/1"),
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
