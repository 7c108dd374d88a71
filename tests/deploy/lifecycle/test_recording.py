"""What a record keeps of the register."""

from __future__ import annotations

import pytest

from broker.ports.robot import GREATEST_ID
from broker.ports.run import Evidence, RegisterRow
from deploy.lifecycle.recording import written_secret
from robots.run.record_rows import register

FIRST = RegisterRow("5-1", "r00", 1, "one", b"first")
SECOND = RegisterRow("6-1", "r01", 1, "two", b"second")
LAST = RegisterRow(GREATEST_ID, "r01", 2, "three", b"last")
FOREIGN = RegisterRow("4-1", "", 0, "", b"\xff")


def evidence_of(*writes: RegisterRow) -> Evidence:
    births = {"r00": [], "r01": []}
    return Evidence({}, {}, {}, births, True, list(writes), {}, {}, [], [])


@pytest.mark.parametrize(
    ("writes", "secret"),
    [
        ([], None),
        ([LAST], b"last"),
        ([FIRST, SECOND, LAST], b"last"),
        ([FIRST, SECOND], b"first"),
        ([FOREIGN, SECOND], b"second"),
        ([FOREIGN], None),
    ],
)
def test_the_secret_is_the_write_that_nothing_can_follow_or_the_first(
    writes: list[RegisterRow], secret: bytes | None
) -> None:
    assert written_secret(evidence_of(*writes)) == secret


def test_every_entry_of_the_register_is_recorded_in_order() -> None:
    assert register(evidence_of(FOREIGN, FIRST, LAST))["writes"] == [
        {"id": "4-1", "robot": "", "incarnation": 0, "nonce": "", "text": "\ufffd"},
        {"id": "5-1", "robot": "r00", "incarnation": 1, "nonce": "one", "text": "first"},
        {"id": GREATEST_ID, "robot": "r01", "incarnation": 2, "nonce": "three", "text": "last"},
    ]
