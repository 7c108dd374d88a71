"""Frugal: answers and updates carry what their receivers lack, and no more."""

from __future__ import annotations

from typing import Any

import pytest

from telemetry.events import MessageSent
from tests.verdict.alterations import Damage, drop, insert_event, lose_journal, named, rows
from tests.verdict.judged import assert_convicted, assert_unproven, finding, verdict_on
from tests.verdict.scribe import STOP_MS, WORDS, Files, digest_of

EXCHANGE = "ab" * 8
FRAME_BYTES = 24
WANT_BYTES = 1


def converse(files: Files, kind: str, parts: int, body: int = 10, shown: int = 1) -> dict[str, Any]:
    """Let r00, which knows all three parts, have sent r01 a message in an exchange in which r01 had shown the first
    parts of its journal; gives its fate."""
    known = [row["index"] for row in rows(files, "journals", robot="r01", entry="part")][:shown]
    summary = MessageSent("r00", 90, "summary", EXCHANGE, 0, 10, 0, shown, digest_of(known))
    insert_event(files, "r01", 1, summary, STOP_MS)
    insert_event(files, "r00", 1, MessageSent("r01", 90, kind, EXCHANGE, parts, body, 0), STOP_MS)
    fate = {**rows(files, "fates", sender="r00", receiver="r01")[-1], "id": f"{STOP_MS}-1", "sequence": 90}
    files["fates"].append(fate | {"kind": kind, "exchange": EXCHANGE, "body": body, "fate": "delivered"})
    return files["fates"][-1]


def bytes_of(*words: str) -> int:
    return sum(len(word.encode()) + 10 for word in words)


def carry_a_known_part(files: Files) -> None:
    converse(files, "update", parts=3)


def carry_all_to_who_knows_all(files: Files) -> None:
    converse(files, "answer", parts=1, shown=3)


def carry_too_many_bytes(files: Files) -> None:
    converse(files, "answer", parts=2, body=FRAME_BYTES + WANT_BYTES + bytes_of(WORDS[0], WORDS[2]) + 1)


def carry_a_full_state_unreported(files: Files) -> None:
    """The sender reports nothing of it; the relay measured it."""
    converse(files, "update", parts=0, body=500)
    drop(files, "events", named(files, "message.sent", "r00")[-1])
    named(files, "robot.left", "r00")[0]["number"] -= 1


def fatten_a_summary(files: Files) -> None:
    rows(files, "fates", kind="summary")[0]["body"] = FRAME_BYTES + 1 + 96 + 512 + 1


BREACHES: dict[str, tuple[Damage, str]] = {
    "an update with a part that was shown": (carry_a_known_part, f"entry {STOP_MS}-1"),
    "an answer to a robot that knows all": (carry_all_to_who_knows_all, f"entry {STOP_MS}-1"),
    "a body that is too large for what was lacking": (carry_too_many_bytes, f"entry {STOP_MS}-1"),
    "a full state that its sender does not report": (carry_a_full_state_unreported, f"entry {STOP_MS}-1"),
    "a summary with more than hot parts": (fatten_a_summary, "outbox 0"),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_convicted_with_a_witness(breach: str, files: Files) -> None:
    assert_convicted(files, "frugal", *BREACHES[breach])


DOUBTS: dict[str, tuple[Damage, str]] = {
    "a lost journal": (lambda f: lose_journal(f, "r01"), "journal of r01 was lost"),
    "a tail without a death": (lambda f: drop(f, "events", named(f, "robot.left", "r00")[0]), "tail of r00/1"),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_what_cannot_be_shown_is_unproven_with_the_reason(doubt: str, files: Files) -> None:
    assert_unproven(files, "frugal", *DOUBTS[doubt])


@pytest.mark.parametrize(("kind", "spare"), [("answer", WANT_BYTES), ("update", 0)])
def test_what_a_receiver_lacks_may_be_sent_to_the_last_byte(kind: str, spare: int, files: Files) -> None:
    # Given the two parts that r01 had not shown, and a body that is as large as they can make it
    most = FRAME_BYTES + spare + bytes_of(WORDS[0], WORDS[2])
    fate = converse(files, kind, parts=2, body=most)
    assert finding(files, "frugal")[0] == "HELD"
    # When the relay measured one byte more, then something else was in it
    fate["body"] += 1
    assert finding(files, "frugal")[0] == "BROKEN"


def test_the_full_state_may_go_to_a_robot_that_lacks_all_of_it(files: Files) -> None:
    converse(files, "answer", parts=2, shown=1)
    assert finding(files, "frugal")[0] == "HELD"


def test_the_fewest_parts_that_were_shown_in_an_exchange_count(files: Files) -> None:
    # Given a summary that showed all parts, and a retransmission's older one that showed a single one
    converse(files, "answer", parts=2, shown=3)
    assert finding(files, "frugal")[0] == "BROKEN"
    converse(files, "answer", parts=2, shown=1)
    # Then either may be the one that was answered
    assert finding(files, "frugal")[0] == "HELD"


def test_answers_and_updates_are_what_puts_it_to_the_test(files: Files) -> None:
    before = verdict_on(files).promises["frugal"].tested
    converse(files, "answer", parts=2)
    assert before > 0
    assert verdict_on(files).promises["frugal"].tested == before + 1


def test_an_envelope_that_was_sent_in_an_outage_and_is_not_reported_showed_less_than_those_that_are(
    files: Files,
) -> None:
    # Given an answer with parts that its receiver had shown, in a later summary of the exchange
    answer = converse(files, "answer", parts=2, shown=2)
    assert finding(files, "frugal")[0] == "BROKEN"
    # When there was an earlier one, which stands in the outbox, and whose reply was lost: then it showed fewer
    earlier = {"sender": "r01", "receiver": "r00", "kind": "summary", "id": f"{STOP_MS - 9}-0", "shard": 1}
    files["fates"].append(answer | earlier | {"sequence": 89, "body": 10})
    assert finding(files, "frugal")[0] == "HELD", finding(files, "frugal")
