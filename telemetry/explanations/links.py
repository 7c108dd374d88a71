"""What the faults in force do to the links between robots, by their texts alone: which links they block, and what share
they lose elsewhere. A fault that is not understood is passed over: what is said here convicts nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from math import prod

from telemetry.verdict.finding import EvidenceError
from telemetry.verdict.recomputed.fault_rules import Rule, number_of, understand


class Links:
    """The links under `faults`, each the text of a fault without times."""

    def __init__(self, faults: Iterable[str]) -> None:
        self._rules = [rule for rule in map(_understood, faults) if rule is not None and rule.loss > 0]

    @cached_property
    def blocks_any(self) -> bool:
        """Whether nothing at all passes some link."""
        return bool(self._blocking)

    def blocking(self, sender: str, receiver: str) -> tuple[str, ...]:
        """The texts of the faults that let nothing pass from one robot to another; empty when something may pass. What
        a partition holds does not pass before its end."""
        pair = number_of(sender), number_of(receiver)
        return tuple(rule.text for rule in self._blocking if rule.target.selects(*pair))

    def losing(self, sender: str, receiver: str) -> tuple[str, ...]:
        """The texts of the faults that lose or damage some of what is sent from one robot to another, or all."""
        pair = number_of(sender), number_of(receiver)
        return tuple(rule.text for rule in self._rules if rule.target.selects(*pair))

    def lost(self, sender: str, receiver: str) -> float:
        """The share that is lost or damaged on the way from one robot to another, 0..1."""
        pair = number_of(sender), number_of(receiver)
        return 1 - prod(1 - rule.loss for rule in self._rules if rule.target.selects(*pair))

    @cached_property
    def _blocking(self) -> list[Rule]:
        return [rule for rule in self._rules if rule.loss == 1]


def _understood(text: str) -> Rule | None:
    try:
        return understand(0, text)
    except EvidenceError:
        return None
