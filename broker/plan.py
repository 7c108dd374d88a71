"""The plan: which faults are in force, as data that travels in the outboxes and stands in the record.

A plan is a value. Which plan rules an envelope is decided by order in its outbox alone: see broker/relay.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Final

import msgspec

from broker.bursts import Bursts
from broker.dice import Dice, Throw
from broker.faults import (
    ORDER,
    AnyFault,
    BurstLoss,
    Corrupt,
    Delay,
    Deliveries,
    LognormalDelay,
    Partition,
    Shaping,
    Throttle,
)
from broker.grammar import Harm, Heal, parse_fault
from broker.targets import EVERYONE

_MOST_WAYS: Final = 65_536  # pairs of robots for which a plan remembers what is offered to them


class Planned(msgspec.Struct, frozen=True, array_like=True):
    """A fault with the instance number that gives it dice of its own. Numbers are never used twice in a run."""

    instance: Annotated[int, msgspec.Meta(ge=0)]
    text: str


class PlanChange(msgspec.Struct, frozen=True, array_like=True, tag="plan"):
    """From here on, in this outbox, these faults are in force (and no others)."""

    faults: tuple[Planned, ...]
    request: str = ""
    """The id of the entry in the stream of requests that caused it; empty when the plan itself had it so."""
    words: str = ""
    """What that entry asked for."""
    refusal: str = ""
    """Why that was not done, in one line: the faults are as they were. Empty when it was done."""


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


def read_control(frame: bytes | None) -> Control | None:
    """The control entry in what anybody may have put into a stream; None for garbage."""
    try:
        return decode_control(frame or b"")
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


class Fated(msgspec.Struct, frozen=True, gc=False):
    """What a plan decides for one envelope."""

    deliveries: Deliveries
    """The delay of each copy in microseconds; none = lost."""
    damage: float | None = None
    """Which bit of the body is flipped, as a share of all its bits in [0, 1); None = unharmed."""
    is_held: bool = False
    """A partition keeps it back until that is over."""
    throttles: tuple[tuple[int, int], ...] = ()
    """The throttles it has to pass: (instance, microseconds from one envelope to the next)."""


_LOST: Final = Fated(())
_UNHARMED: Final = Fated((0,))


class _Way:
    """What a plan does to envelopes from one robot to another: its faults, in order, sorted by what they do."""

    def __init__(self, faults: Sequence[tuple[int, AnyFault]], bursts: Mapping[int, Bursts]) -> None:
        partitions = [fault for _, fault in faults if isinstance(fault, Partition)]
        self.is_free = not faults
        self.is_cut = not all(partition.is_hold for partition in partitions)
        self.is_held = any(partition.is_hold for partition in partitions)
        self.bursts = tuple(bursts[instance] for instance, fault in faults if isinstance(fault, BurstLoss))
        self.shaping = tuple((instance, fault.apply) for instance, fault in faults if isinstance(fault, Shaping))
        self.throttles = tuple((instance, fault.gap_us) for instance, fault in faults if isinstance(fault, Throttle))
        self._corrupting = tuple((instance, fault) for instance, fault in faults if isinstance(fault, Corrupt))
        self.is_special = bool(self.is_held or self.throttles or self._corrupting)

    def damage(self, throw: Throw) -> float | None:
        """The harm of the first fault that does any: a second flip could undo it."""
        for instance, corrupt in self._corrupting:
            damage = corrupt.damage(throw, instance)
            if damage is not None:
                return damage
        return None


class Plan:
    """Faults in force, ready to decide fates.

    A fate depends on nothing but the envelope, the dice and the plan; what is remembered in here only saves work.
    """

    def __init__(self, change: PlanChange) -> None:
        """Raises Misspelt when a text in `change` is no fault."""
        self.change = change
        faults = [(planned.instance, parse_fault(planned.text)) for planned in change.faults]
        self._faults = sorted(faults, key=lambda pair: (ORDER.index(pair[1].name), pair[0]))
        self._bursts = {
            instance: Bursts(fault, instance) for instance, fault in self._faults if isinstance(fault, BurstLoss)
        }
        is_same_for_all = all(fault.target == EVERYONE for _, fault in faults)
        self._only_way = _Way(self._faults, self._bursts) if is_same_for_all else None
        self._ways: dict[tuple[str, str], _Way] = {}

    def fate(self, dice: Dice, sender: str, incarnation: int, receiver: str, sequence: int) -> Fated:
        """The fate of one envelope. Names are those of robots (broker/shards.py)."""
        way = self._only_way or self._way(sender, receiver)
        if way.is_cut:
            return _LOST
        if way.is_free:
            return _UNHARMED
        throw = dice.of(sender, incarnation, receiver, sequence)
        for bursts in way.bursts:
            if bursts.is_bad(dice, sender, incarnation, receiver, sequence, throw):
                return _LOST
        deliveries: Deliveries = (0,)
        for instance, apply in way.shaping:
            deliveries = apply(deliveries, throw, instance)
            if not deliveries:
                return _LOST
        if way.is_special:
            return Fated(deliveries, way.damage(throw), way.is_held, way.throttles)
        return Fated(deliveries)

    def holds(self, sender: str, receiver: str) -> bool:
        """Whether a partition keeps back what goes from `sender` to `receiver`."""
        return (self._only_way or self._way(sender, receiver)).is_held

    def _way(self, sender: str, receiver: str) -> _Way:
        way = self._ways.get((sender, receiver))
        if way is None:
            numbers = int(sender[1:]), int(receiver[1:])
            selected = [(instance, fault) for instance, fault in self._faults if fault.target.selects(*numbers)]
            way = _Way(selected, self._bursts)
            if len(self._ways) >= _MOST_WAYS:
                self._ways.clear()
            self._ways[sender, receiver] = way
        return way


def median_delay_us(faults: Iterable[Harm | Heal]) -> int:
    """The median of the delays that `faults` put on every copy, in microseconds. Retransmission timers respect it."""
    delays = [fault for fault in faults if isinstance(fault, Delay | LognormalDelay)]
    return sum(delay.median_us for delay in delays if delay.target == EVERYONE)
