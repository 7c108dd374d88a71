"""The rows of a record: a fate has the texts of its faults, as the plan in force for its envelope had them."""

from __future__ import annotations

from typing import Any

from broker.control_entries import Birth, Control, PlanChange, Planned
from broker.ports.run import Evidence, StoredFates
from broker.relay.core import Fate
from robots.run.record_rows import fate_rows


def planned(*faults: tuple[int, str]) -> PlanChange:
    return PlanChange(tuple(Planned(*fault) for fault in faults))


def fate(entry: str, *faults: int) -> Fate:
    return Fate(entry, "r00", 1, "r01", 1, bytes(8), "summary", "lost", (), faults, 9, 60)


def rows_of(controls: list[tuple[str, Control]], fates: list[StoredFates]) -> list[dict[str, Any]]:
    empty: dict[str, Any] = {"journals": {}, "births": {}, "outboxes": {}, "inboxes": {}}
    rest: dict[str, Any] = {"register_exists": True, "writes": [], "orders": [], "fleet": []}
    return list(fate_rows(Evidence({0: controls}, {0: fates}, **empty, **rest)))


def test_a_fate_names_the_faults_by_the_text_that_they_had_when_its_envelope_was_sent() -> None:
    # Given a fault whose number gets another text, and a birth between
    controls: list[tuple[str, Control]] = [
        ("10-0", planned((3, "loss 0.2"), (4, "delay 5ms"))),
        ("20-1", planned((3, "loss 0.5"))),
        ("25-0", Birth("r00", 2, "nonce")),
    ]
    # When fates of envelopes before, between and after are written down, late ones too
    fates = [fate("9-9", 3), fate("20-0", 3, 4), fate("20-2", 3), fate("30-0", 3), fate("30-1", 99)]
    rows = rows_of(controls, [StoredFates("40-0", tuple(fates)), StoredFates("41-0", redo=("9-9",))])
    # Then each has the texts of the plan before it; a number without one has none
    assert [[fault["fault"] for fault in row["faults"]] for row in rows[:-1]] == [
        [""],
        ["loss 0.2", "delay 5ms"],
        ["loss 0.5"],
        ["loss 0.5"],
        [""],
    ]
    assert {row["stored"] for row in rows[:-1]} == {"40-0"}
    assert rows[-1] == {"row": "redo", "shard": 0, "stored": "41-0", "redo": ("9-9",)}
