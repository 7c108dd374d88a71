"""Once: of all that try to write the secret, one is accepted."""

from __future__ import annotations

import msgspec
import pytest

from telemetry.events import RobotStarted, SecretRefused, SecretWritten
from telemetry.verdict.evidence.schema import WRITE_ID
from tests.verdict.alterations import Damage, insert_event, named, nothing_written
from tests.verdict.judged import assert_convicted, assert_unproven, verdict_on
from tests.verdict.scribe import GO_MS, STOP_MS, WORDS, Files


def claim_a_second_write(files: Files) -> None:
    insert_event(files, "r00", 1, SecretWritten(19, "aof"), STOP_MS)


def write_without_attempt(files: Files) -> None:
    files["register"]["writes"][0]["nonce"] = "another"


def write_as_another_life(files: Files) -> None:
    files["register"]["writes"][0]["incarnation"] = 2


def write_twice(files: Files) -> None:
    """Let r00, which was refused, have written too."""
    write = {"id": "5-1", "robot": "r00", "incarnation": 1, "nonce": "r00-1", "text": "".join(WORDS)}
    files["register"]["writes"].insert(0, write)


def write_where_more_can_follow(files: Files) -> None:
    files["register"]["writes"][0]["id"] = f"{GO_MS}-0"


def write_by_hand(files: Files, entry: str = "5-1") -> None:
    """Let a client that is no robot have written something into the register."""
    files["register"]["writes"].insert(0, {"id": entry, "robot": "", "incarnation": 0, "nonce": "", "text": ""})


def take_the_place_of_the_write(files: Files) -> None:
    files["register"]["writes"].clear()
    write_by_hand(files, WRITE_ID)


BREACHES: dict[str, tuple[Damage, str]] = {
    "a second life claims an accepted write": (claim_a_second_write, "r00/1"),
    "the write was never attempted": (write_without_attempt, "birth stream of r01"),
    "the write is another life's": (write_as_another_life, "birth stream of r01"),
    "two writes": (write_twice, f"register, entries {WRITE_ID} and 5-1"),
    "a write that another one could follow": (write_where_more_can_follow, f"register, {GO_MS}-0"),
    "a foreign entry in the place of the write": (take_the_place_of_the_write, "birth stream of , life 0"),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_convicted_with_a_witness(breach: str, files: Files) -> None:
    assert_convicted(files, "once", *BREACHES[breach])


DOUBTS: dict[str, tuple[Damage, str]] = {
    "a register that is gone: once": (lambda f: f["register"].update(exists=False), "register is gone"),
    "an entry that no robot wrote": (write_by_hand, "entry 5-1 of the register was written by no robot"),
    "an attempt that left nothing": (lambda f: f["register"].update(writes=[]), "empty all the same"),
    "a try that is not in the births": (
        lambda f: insert_event(f, "r02", 2, SecretRefused(), STOP_MS),
        "r02/2 reports that it tried",
    ),
    "an unknown holder": (lambda f: f["deal"]["indices"][1]["holders"].append("r09"), "r09 was dealt"),
    "a birth stream of an unknown robot": (lambda f: f["register"]["births"].update(r07=[]), "r07 has a birth stream"),
    "a missing birth stream": (lambda f: f["register"]["births"].pop("r02"), "birth stream of r02 is not"),
    "a birth stream without its births": (
        lambda f: f["register"]["births"].update(r02=[]),
        "birth of r02/1 is not in its birth stream",
    ),
    "a birth that is in no journal": (
        lambda f: f["register"]["births"]["r02"].append({"id": "3-1", "entry": "born", "nonce": "x", "at_us": None}),
        "birth of r02/3 is not in its journal",
    ),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_what_cannot_be_shown_is_unproven_with_the_reason(doubt: str, files: Files) -> None:
    assert_unproven(files, "once", *DOUBTS[doubt])


def test_the_secret_is_that_of_the_entry_which_nothing_can_follow(files: Files) -> None:
    # Given a robot's write, and another client's entry before it
    write_by_hand(files)
    result = verdict_on(files)
    # Then the write is judged, and wins
    assert (result.promises["right"].state, result.winner) == ("HELD", "r01")
    # When another robot wrote something else before, then it is still that one
    write_twice(files)
    files["register"]["writes"][0]["text"] = "another"
    assert (verdict_on(files).promises["right"].state, verdict_on(files).winner) == ("HELD", "r01")


def test_an_entry_of_no_robot_is_no_write(files: Files) -> None:
    # Given a run in which nothing was written, except by another client
    nothing_written(files)
    for row in (named(files, "secret.written"))[:]:
        row["event"] = msgspec.to_builtins(RobotStarted())
    write_by_hand(files)
    # Then no robot has won, and the entry is named
    result = verdict_on(files, secret=None)
    assert (result.winner, result.promises["once"].state) == (None, "UNPROVEN")
    assert "written by no robot" in result.promises["once"].why


def test_nothing_written_breaks_no_promise(files: Files) -> None:
    # Given a run that ended before any robot wrote
    nothing_written(files)
    for row in (named(files, "secret.written"))[:]:
        row["event"] = msgspec.to_builtins(RobotStarted())
    # When it is judged without a secret.txt
    result = verdict_on(files, secret=None)
    # Then `once` is HELD, and the verdict is UNPROVEN: there is no winner to speak of
    assert result.promises["once"].state == "HELD"
    assert (result.verdict, result.exit_code) == ("UNPROVEN", 3)
    assert (result.winner, result.winner_incarnation, result.seconds.written) == (None, None, None)
