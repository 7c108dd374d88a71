"""The plan: which faults are in force, as data that travels in the outboxes and stands in the record.

A plan is a value. Which plan rules an envelope is decided by order in its outbox alone: see broker/relay.py.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from broker.dice import Dice
from broker.faults import ORDER, AnyFault, Delay, Deliveries, parse_fault


class Planned(msgspec.Struct, frozen=True, array_like=True):
    """A fault with the instance number that gives it dice of its own. Numbers are never used twice in a run."""

    instance: int
    text: str


class PlanChange(msgspec.Struct, frozen=True, array_like=True, tag="plan"):
    """From here on, in this outbox, these faults are in force (and no others)."""

    faults: tuple[Planned, ...]


class Birth(msgspec.Struct, frozen=True, array_like=True, tag="born"):
    """From here on, in this outbox, earlier lives of this robot are stale."""

    robot: str
    incarnation: int
    nonce: str


Control = PlanChange | Birth

encode_control = msgspec.msgpack.Encoder().encode
_decode_control = msgspec.msgpack.Decoder(PlanChange | Birth).decode


def decode_control(frame: bytes) -> Control:
    """The control entry in `frame`. Raises msgspec.DecodeError on garbage (only the lab itself writes these)."""
    control: Control = _decode_control(frame)
    return control


class Plan:
    """Faults in force, ready to decide fates."""

    def __init__(self, change: PlanChange) -> None:
        self.change = change
        faults = ((planned.instance, parse_fault(planned.text)) for planned in change.faults)
        self._faults: tuple[tuple[int, AnyFault], ...] = tuple(
            sorted(faults, key=lambda pair: (ORDER.index(type(pair[1])), pair[0]))
        )

    def fate(self, dice: Dice, sender: str, incarnation: int, receiver: str, sequence: int) -> Deliveries:
        """The deliveries of one envelope: the delay of each copy, in microseconds; none = lost."""
        if not self._faults:
            return (0,)
        throw = dice.of(sender, incarnation, receiver, sequence)
        deliveries: Deliveries = (0,)
        for instance, fault in self._faults:
            deliveries = fault.apply(deliveries, throw, instance)
        return deliveries


def first_plan(faults: Iterable[AnyFault]) -> PlanChange:
    """The plan that a run is dealt: its faults numbered from 0."""
    return PlanChange(tuple(Planned(number, fault.text()) for number, fault in enumerate(faults)))


def median_delay_us(faults: Iterable[AnyFault]) -> int:
    """The median of the delays that `faults` put on every copy, in microseconds. Retransmission timers respect it."""
    return sum((fault.low_us + fault.high_us) // 2 for fault in faults if isinstance(fault, Delay))
