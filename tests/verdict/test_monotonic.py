"""Monotonic: a robot never forgets, and never shows more or less than it holds."""

from __future__ import annotations

import pytest

from tests.verdict.alterations import (
    Damage,
    drop,
    journal_part,
    know_two_words,
    lose_journal,
    named,
    renumber,
    rows,
    wait_incomplete,
)
from tests.verdict.judged import assert_convicted, assert_unproven
from tests.verdict.scribe import WORDS, Files, digest_of


def forget_being_born(files: Files) -> None:
    drop(files, "journals", rows(files, "journals", robot="r02", entry="born")[1])


def lose_a_dealt_part(files: Files) -> None:
    drop(files, "journals", journal_part(files, "r02", 2))
    renumber(files, "r02")


def hold_what_was_not_dealt(files: Files) -> None:
    header = rows(files, "journals", robot="r00", entry="header")[0]
    part = {"robot": "r00", "entry": "part", "index": 1, "word": WORDS[1], "last": False, "cause": None, "id": "0-3"}
    files["journals"].insert(files["journals"].index(header) + 2, part)


def show_more_than_is_held(files: Files) -> None:
    first = next(row for row in named(files, "message.sent", "r00") if row["event"]["kind"] == "summary")
    first["event"] |= {"held": 3, "digest": digest_of([0, 1, 2]), "kind": "summary"}
    files["journals"] = [row for row in files["journals"] if row["robot"] != "r00" or row.get("index") != 2]
    renumber(files, "r00")


def show_other_parts(files: Files) -> None:
    first = next(row for row in named(files, "message.sent", "r00") if row["event"]["kind"] == "summary")
    first["event"]["digest"] = digest_of([2])


def show_what_the_next_life_knows(files: Files) -> None:
    summary = next(row for row in named(files, "message.sent", "r02") if row["incarnation"] == 2)
    assert summary["event"]["kind"] == "summary"
    summary["event"] |= {"held": 1, "digest": digest_of([2])}


BREACHES: dict[str, tuple[Damage, str]] = {
    "a forgotten part": (lambda f: drop(f, "journals", journal_part(f, "r00", 1)), "journal of r00"),
    "a birth that left no trace": (forget_being_born, "journal of r02"),
    "a dealt part that is not held": (lose_a_dealt_part, "journal of r02"),
    "a dealt part without a holder": (hold_what_was_not_dealt, "journal of r00"),
    "a dealt word that was changed": (
        lambda f: journal_part(f, "r00", 0).update(word="Zwei  "),
        "journal of r00, entry 0-2",
    ),
    "an index that becomes another word": (know_two_words, "journal of r00"),
    "a summary of more than is held": (show_more_than_is_held, "of r00/1"),
    "a merge that was reported and not journalled": (wait_incomplete, "of r01/1"),
    "a completion that was not journalled": (
        lambda f: drop(f, "journals", rows(f, "journals", robot="r02", entry="complete")[0]),
        "of r02/2",
    ),
    "a summary of other parts": (show_other_parts, "of r00/1"),
    "a summary of less than at birth": (show_what_the_next_life_knows, "of r02/2"),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_convicted_with_a_witness(breach: str, files: Files) -> None:
    assert_convicted(files, "monotonic", *BREACHES[breach])


DOUBTS: dict[str, tuple[Damage, str]] = {
    "a lost journal": (lambda f: lose_journal(f, "r02"), "journal of r02 was lost"),
    "a gap in a life's events": (lambda f: drop(f, "events", named(f, "robot.started", "r00")[0]), "event 2 of r00/1"),
    "a summary without a digest": (
        lambda f: next(row for row in named(f, "message.sent", "r00") if row["event"]["kind"] == "summary")[
            "event"
        ].update(digest=""),
        "has no digest",
    ),
    "a robot too few": (lambda f: f["settings"].update(robots=2), "r02 was dealt parts"),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_what_cannot_be_shown_is_unproven_with_the_reason(doubt: str, files: Files) -> None:
    assert_unproven(files, "monotonic", *DOUBTS[doubt])
