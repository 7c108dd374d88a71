"""The list of what fakeredis cannot do is up to date. What it can do, the contract tests say."""

from __future__ import annotations

from pathlib import Path

from tests.broker.ports.fakeredis_lab import UNFAITHFUL


def test_every_exception_is_a_contract_test() -> None:
    contracts = "\n".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))

    assert [name for name in UNFAITHFUL if f"def {name}(" not in contracts] == []
