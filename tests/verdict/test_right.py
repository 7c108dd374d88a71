"""Right: what was written is the secret that was dealt, byte for byte."""

from __future__ import annotations

import pytest

from tests.verdict.alterations import Damage, nothing_written
from tests.verdict.honest_record import SECRET
from tests.verdict.judged import assert_convicted, assert_unproven, verdict_on
from tests.verdict.scribe import WORDS, Files

BREACHES: dict[str, tuple[Damage, str]] = {
    "a wrong text of the right length": (lambda f: f["register"]["writes"][0].update(text="X" * 19), "r01/1"),
    "a longer text": (lambda f: f["register"]["writes"][0].update(text="".join(WORDS) + "!"), "r01/1"),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_convicted_with_a_witness(breach: str, files: Files) -> None:
    assert_convicted(files, "right", *BREACHES[breach])


DOUBTS: dict[str, tuple[Damage, str]] = {
    "a register that is gone: right": (lambda f: f["register"].update(exists=False), "register is gone"),
    "nothing to be right": (nothing_written, "nothing was written"),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_what_cannot_be_shown_is_unproven_with_the_reason(doubt: str, files: Files) -> None:
    assert_unproven(files, "right", *DOUBTS[doubt])


def test_secret_txt_must_be_what_the_register_holds(files: Files) -> None:
    assert verdict_on(files, SECRET[:-1] + b"?").promises["right"].state == "BROKEN"
    assert verdict_on(files, SECRET + b"\n").promises["right"].state == "BROKEN"
    assert verdict_on(files, SECRET[: len(SECRET) // 2]).promises["right"].state == "UNPROVEN"
    assert verdict_on(files, None).promises["right"].state == "UNPROVEN"
