"""Fenced: an older life can do nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.verdict.alterations import Damage, birth_ms, deliver_the_stale, drop, lose_journal, rows
from tests.verdict.judged import assert_convicted, finding
from tests.verdict.scribe import GO_MS, Files

BREACHES: dict[str, tuple[Damage, str]] = {
    "an older life's envelope that was let through": (deliver_the_stale, "outbox 0"),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_convicted_with_a_witness(breach: str, files: Files) -> None:
    assert_convicted(files, "fenced", *BREACHES[breach])


def stand_before_the_birth(files: Files) -> None:
    row = rows(files, "fates", fate="stale")[0]
    row |= {"fate": "delivered", "deliveries": [0], "id": f"{birth_ms(files, 'r02', 2) - 1}-9"}


def come_damaged(files: Files) -> None:
    rows(files, "fates", fate="stale")[0] |= {"fate": "corrupt", "deliveries": [5]}


def be_lost(files: Files) -> None:
    rows(files, "fates", fate="stale")[0]["fate"] = "delivered"


def come_at_the_second_time(files: Files) -> None:
    row = rows(files, "fates", fate="stale")[0]
    files["fates"].append({**row, "fate": "delivered", "deliveries": [5]})


def be_of_another(files: Files) -> None:
    rows(files, "fates", fate="stale")[0] |= {"fate": "delivered", "deliveries": [5], "sender": "r00"}


def journal_late(files: Files) -> None:
    entries = rows(files, "journals", robot="r02")
    second = next(row for row in entries if row["id"] == "2-1")
    late = {"robot": "r02", "id": "1-9", "entry": "complete", "at_us": GO_MS * 1000}
    files["journals"].insert(files["journals"].index(second) + 1, late)


def journal_in_time(files: Files) -> None:
    entries = rows(files, "journals", robot="r02")
    second = next(row for row in entries if row["id"] == "2-1")
    late = {"robot": "r02", "id": "1-9", "entry": "complete", "at_us": GO_MS * 1000}
    files["journals"].insert(files["journals"].index(second), late)


def attempt_of_no_life(files: Files) -> None:
    births_of_r01(files, "b1", "a1", "b2")
    files["register"]["births"]["r01"][1]["nonce"] = "another"


def births_of_r01(files: Files, *entries: str) -> None:
    """Let the writer's birth stream hold this: b = born, a = an attempt, each with its life."""
    kinds = {"b": "born", "a": "attempt"}
    files["register"]["births"]["r01"] = [
        {"id": f"{entry[1]}-{place}", "entry": kinds[entry[0]], "nonce": f"r01-{entry[1]}", "at_us": None}
        for place, entry in enumerate(entries)
    ]


@pytest.mark.parametrize(
    ("change", "expected", "witness"),
    [
        (deliver_the_stale, "BROKEN", "outbox 0, entry"),
        (come_damaged, "BROKEN", "outbox 0, entry"),
        (come_at_the_second_time, "BROKEN", "outbox 0, entry"),
        (stand_before_the_birth, "HELD", ""),
        (be_lost, "HELD", ""),
        (be_of_another, "HELD", ""),
        (journal_late, "BROKEN", "journal of r02, entry 1-9"),
        (journal_in_time, "HELD", ""),
        (lambda files: births_of_r01(files, "b1", "b2", "a1"), "BROKEN", "birth stream of r01"),
        (lambda files: births_of_r01(files, "b1", "b2"), "BROKEN", "birth stream of r01"),
        (lambda files: births_of_r01(files, "b1", "b2", "a2"), "BROKEN", "birth stream of r01"),
        (attempt_of_no_life, "BROKEN", "birth stream of r01"),
        (lambda files: births_of_r01(files, "b1", "a1"), "HELD", ""),
        (lambda files: births_of_r01(files, "b1", "a1", "b2"), "UNPROVEN", "birth of r01/2 is not in its journal"),
        (lambda files: drop(files, "plan", rows(files, "plan", robot="r02")[1]), "UNPROVEN", "r02/2 sent something"),
        (lambda files: files["register"].update(exists=False), "UNPROVEN", "register is gone"),
        (lambda files: lose_journal(files, "r02"), "UNPROVEN", "journal of r02 was lost"),
    ],
)
def test_older_lives_can_do_nothing(
    change: Callable[[Files], None], expected: str, witness: str, longer_files: Files
) -> None:
    # Given a record in which an older life's envelope was refused
    assert finding(longer_files, "fenced") == (
        "HELD",
        "lives after a robot's first: 1; stale envelopes of older ones: 1",
    )
    # When one thing in it is otherwise
    change(longer_files)
    # Then what took effect convicts, and nothing else does
    found = finding(longer_files, "fenced")
    assert (found[0], witness in found[1]) == (expected, True), found
