"""What the faults in force do to the links between robots, by their texts alone: which links they block, and what share
they lose elsewhere. A fault that is not understood is passed over: what is said here convicts nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from math import prod
from typing import NamedTuple

from telemetry.verdict.finding import EvidenceError
from telemetry.verdict.recomputed.fault_rules import Rule, number_of, understand

Place = tuple[bool, ...]
"""On which sides of the faults' targets a robot is. Robots with equal places have the same links."""


class _Effect(NamedTuple):
    """What the faults do to one direction of a link."""

    blocking: tuple[str, ...]
    losing: tuple[str, ...]
    lost: float


class Links:
    """The links under `faults`, each the text of a fault without times."""

    def __init__(self, faults: Iterable[str]) -> None:
        understood = [rule for rule in map(_understood, faults) if rule is not None]
        self._rules = [rule for rule in understood if rule.loss > 0]
        self._delays = [rule for rule in understood if rule.name == "delay" and not rule.target.sides]
        self._sides = list(dict.fromkeys(side for rule in self._rules for side in rule.target.sides))
        self._places: dict[str, Place] = {}
        self._effects: dict[tuple[Place, Place], _Effect] = {}

    @cached_property
    def blocks_any(self) -> bool:
        """Whether nothing at all passes some link."""
        return any(rule.loss == 1 for rule in self._rules)

    @property
    def delay_us(self) -> float:
        """How long an envelope is held back on most links: the sum of the delays of all, each by its median."""
        return sum((rule.low_us + rule.high_us) / 2 for rule in self._delays)

    def blocking(self, sender: str, receiver: str) -> tuple[str, ...]:
        """The texts of the faults that let nothing pass from one robot to another; empty when something may pass. What
        a partition holds does not pass before its end."""
        return self._effect(sender, receiver).blocking

    def losing(self, sender: str, receiver: str) -> tuple[str, ...]:
        """The texts of the faults that lose or damage some of what is sent from one robot to another, or all."""
        return self._effect(sender, receiver).losing

    def lost(self, sender: str, receiver: str) -> float:
        """The share that is lost or damaged on the way from one robot to another, 0..1."""
        return self._effect(sender, receiver).lost

    def _effect(self, sender: str, receiver: str) -> _Effect:
        places = self.place(sender), self.place(receiver)
        effect = self._effects.get(places)
        if effect is None:
            numbers = number_of(sender), number_of(receiver)
            rules = [rule for rule in self._rules if rule.target.selects(*numbers)]
            effect = self._effects[places] = _Effect(
                tuple(rule.text for rule in rules if rule.loss == 1),
                tuple(rule.text for rule in rules),
                1 - prod(1 - rule.loss for rule in rules),
            )
        return effect

    def place(self, robot: str) -> Place:
        """Where the robot is: those with equal places have the same links."""
        place = self._places.get(robot)
        if place is None:
            number = number_of(robot)
            sides = (any(number in span for span in side) for side in self._sides) if number is not None else ()
            place = self._places[robot] = tuple(sides)
        return place


def _understood(text: str) -> Rule | None:
    try:
        return understand(0, text)
    except EvidenceError:
        return None
