"""The judge's findings on a record. No tests here."""

from __future__ import annotations

from telemetry.verdict.case import case_of
from telemetry.verdict.judge import Result, judge
from tests.verdict.alterations import Damage
from tests.verdict.honest_record import SECRET
from tests.verdict.scribe import Files


def verdict_on(files: Files, secret: bytes | None = SECRET) -> Result:
    return judge(case_of("runs/abc123", files, secret))


def assert_convicted(files: Files, promise: str, damage: Damage, witness: str) -> None:
    """One damage to an honest record breaks the promise, and the witness can be looked up."""
    damage(files)
    result = verdict_on(files)
    found = result.promises[promise]
    assert found.state == "BROKEN", found.why
    assert witness in found.why.partition("(witness: ")[2], found.why
    assert (result.verdict, result.exit_code) == ("BROKEN", 1)


def assert_unproven(files: Files, promise: str, damage: Damage, reason: str) -> None:
    """After one damage to an honest record, the promise can no longer be shown, and the finding gives the reason."""
    damage(files)
    result = verdict_on(files)
    assert result.promises[promise].state == "UNPROVEN", result.promises[promise].why
    assert reason in result.promises[promise].why
    assert result.verdict != "HELD"


def finding(files: Files, promise: str = "supervised") -> tuple[str, str]:
    found = verdict_on(files).promises[promise]
    return found.state, found.why


def state(files: Files, promise: str = "supervised") -> str:
    return finding(files, promise)[0]
