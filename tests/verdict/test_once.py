"""Once: of all that try to write the secret, one is accepted."""

from __future__ import annotations

import msgspec
import pytest

from telemetry.events import RobotStarted, SecretRefused, SecretWritten
from tests.verdict.alterations import Damage, insert_event, named, nothing_written
from tests.verdict.judged import assert_convicted, assert_unproven, verdict_on
from tests.verdict.scribe import STOP_MS, Files


def claim_a_second_write(files: Files) -> None:
    insert_event(files, "r00", 1, SecretWritten(19, "aof"), STOP_MS)


def write_without_attempt(files: Files) -> None:
    files["register"]["write"]["nonce"] = "another"


def write_as_another_life(files: Files) -> None:
    files["register"]["write"]["incarnation"] = 2


BREACHES: dict[str, tuple[Damage, str]] = {
    "a second life claims an accepted write": (claim_a_second_write, "r00/1"),
    "the write was never attempted": (write_without_attempt, "birth stream of r01"),
    "the write is another life's": (write_as_another_life, "birth stream of r01"),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_convicted_with_a_witness(breach: str, files: Files) -> None:
    assert_convicted(files, "once", *BREACHES[breach])


DOUBTS: dict[str, tuple[Damage, str]] = {
    "a register that is gone: once": (lambda f: f["register"].update(exists=False), "register is gone"),
    "an attempt that left nothing": (lambda f: f["register"].update(write=None), "empty all the same"),
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
