"""Idempotent: a part is merged once, and from an envelope that came undamaged."""

from __future__ import annotations

from typing import Any

import pytest

from tests.verdict.alterations import Damage, drop, journal_part, relay_death, renumber, rows
from tests.verdict.judged import assert_convicted, assert_unproven, state, verdict_on
from tests.verdict.scribe import STOP_MS, Files, shard_of


def test_a_damaged_envelope_teaches_nothing(files: Files) -> None:
    # Given a part that came with an envelope
    sender, life, sequence, _ = journal_part(files, "r00", 1)["cause"]
    row = rows(files, "fates", sender=sender, incarnation=life, receiver="r00", sequence=sequence)[0]
    assert verdict_on(files).promises["idempotent"].state == "HELD"
    # When that was recorded as corrupt, then nothing can have been merged from it
    row["fate"] = "corrupt"
    finding = verdict_on(files).promises["idempotent"]
    assert (finding.state, "never came undamaged" in finding.why) == ("BROKEN", True)


def test_an_envelope_that_is_put_there_again_takes_nothing_back(files: Files) -> None:
    # Given a part that came with an envelope, which stands in its outbox once more, and was lost then
    sender, life, sequence, _ = journal_part(files, "r00", 1)["cause"]
    row = rows(files, "fates", sender=sender, incarnation=life, receiver="r00", sequence=sequence)[0]
    files["fates"].append({**row, "id": f"{STOP_MS}-5", "deliveries": []})
    # When it is judged, then the part came all the same
    assert verdict_on(files).promises["idempotent"].state == "HELD"


def merge_again(files: Files) -> None:
    part = journal_part(files, "r00", 1)
    files["journals"].insert(files["journals"].index(part) + 1, dict(part))
    renumber(files, "r00")


def merge_another_copy(files: Files) -> None:
    part = journal_part(files, "r00", 1)
    twin = {**part, "cause": [*part["cause"][:3], part["cause"][3] + 1]}
    files["journals"].insert(files["journals"].index(part) + 1, twin)
    renumber(files, "r00")


def cite(files: Files, **cause: Any) -> None:
    part = journal_part(files, "r00", 1)
    sender, life, sequence, copy = part["cause"]
    named_cause = {"sender": sender, "life": life, "sequence": sequence, "copy": copy} | cause
    part["cause"] = list(named_cause.values())


BREACHES: dict[str, tuple[Damage, str]] = {
    "a part that was merged again": (merge_again, "journal of r00"),
    "a second copy that was merged again": (merge_another_copy, "journal of r00"),
    "a part of an unknown envelope": (lambda f: cite(f, sequence=999), "journal of r00"),
    "a part of a copy that never was": (lambda f: cite(f, copy=7), "journal of r00"),
    "a part of a negative copy": (lambda f: cite(f, copy=-1), "journal of r00"),
    "a part of another life's envelope": (lambda f: cite(f, life=3), "journal of r00"),
    "a part that nothing brought": (lambda f: journal_part(f, "r00", 1).update(cause=None), "journal of r00"),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_convicted_with_a_witness(breach: str, files: Files) -> None:
    assert_convicted(files, "idempotent", *BREACHES[breach])


DOUBTS: dict[str, tuple[Damage, str]] = {
    "a journal of an unknown robot": (
        lambda f: f["journals"].append({"robot": "r07", "id": "0-1", "entry": "header", "origin": "dealt"}),
        "r07 has a journal",
    ),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_what_cannot_be_shown_is_unproven_with_the_reason(doubt: str, files: Files) -> None:
    assert_unproven(files, "idempotent", *DOUBTS[doubt])


def test_a_part_whose_relay_died_before_it_recorded_the_fate_is_unproven(files: Files) -> None:
    # Given a part that came with an envelope whose fate is not recorded
    sender, life, sequence, _ = journal_part(files, "r00", 1)["cause"]
    drop(files, "fates", rows(files, "fates", sender=sender, incarnation=life, receiver="r00", sequence=sequence)[0])
    for shard, expected in ((1 - shard_of(sender), "BROKEN"), (shard_of(sender), "UNPROVEN")):
        # When the relay of another shard died, then the promise is broken; of its sender's shard, then it is unproven
        relay_death(files, shard, STOP_MS)
        assert state(files, "idempotent") == expected
