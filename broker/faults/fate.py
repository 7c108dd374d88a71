"""The fate of an envelope: a plan change, made ready to decide what happens to each.

A fate depends on nothing but the envelope, the dice and the plan; everything remembered here only saves work, and may
be forgotten. Which plan is in force for an envelope, its place in the outbox decides: see broker/relay/core.py. First
partitions and burst loss decide whether an envelope is lost; then the shaping faults act, in the order of the registry;
then comes corruption. Throttles are passed on to the relay, which alone knows how long they make an envelope wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from broker.control_entries import PlanChange
from broker.faults.dice import Dice, Draws
from broker.faults.grammar import parse_fault
from broker.faults.message_faults import MESSAGE_FAULTS, BurstLoss, Corrupt, MessageFault, Partition, Throttle
from broker.faults.registry import Fault, Heal
from broker.faults.shaping_faults import Delay, Deliveries, LognormalDelay, Shaping
from broker.faults.target import EVERYONE

_ORDER: Final = {kind.name: place for place, kind in enumerate(MESSAGE_FAULTS)}
BLOCK: Final = 1024  # numbers; at the first of each block the chain begins anew
_MEMORY: Final = 65_536  # pairs of robots (and lives) whose last state is remembered
_MOST_LINKS: Final = 65_536  # pairs of robots whose link a plan remembers


class Bursts:
    """The states of one instance of burst loss.

    Nothing is computed from the beginning: most numbers decide the state whatever the one before it was, so a short
    walk backwards to such a number is enough. The numbers on the way either keep the state or invert it.
    """

    def __init__(self, fault: BurstLoss, instance: int) -> None:
        self._instance = instance
        self._share = fault.share
        self._low, self._high = sorted((fault.onset, fault.recovery))
        self._is_bad_between = fault.recovery < fault.onset
        self._dice: Dice | None = None
        self._last: dict[tuple[str, int, str], tuple[int, bool]] = {}

    def is_bad(self, dice: Dice, sender: str, incarnation: int, receiver: str, sequence: int, draws: Draws) -> bool:
        """Whether the envelope is lost; `draws` is its own of `dice`."""
        if dice is not self._dice:
            self._dice = dice
            self._last.clear()
        pair = (sender, incarnation, receiver)
        known, is_bad_there = self._last.get(pair, (0, False))
        first = sequence - (sequence - 1) % BLOCK
        number, is_inverted = sequence, False
        while True:
            u = draws.number(self._instance, 0, 0)
            if number == first:
                state = u < self._share
                break
            if self._low <= u < self._high:
                state = self._is_bad_between
                break
            is_inverted ^= u < self._low
            number -= 1
            if number == known:
                state = is_bad_there
                break
            draws = dice.of(sender, incarnation, receiver, number)
        state ^= is_inverted
        self._remember(pair, sequence, state)
        return state

    def _remember(self, pair: tuple[str, int, str], sequence: int, state: bool) -> None:
        if len(self._last) >= _MEMORY and pair not in self._last:
            self._last.clear()
        self._last[pair] = (sequence, state)


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What a plan decides for one envelope."""

    deliveries: Deliveries
    """The delay of each copy in microseconds; none = lost."""
    damage: float | None = None
    """Which bit of the body is flipped, as a share of all its bits in [0, 1); None = unharmed."""
    is_held: bool = False
    """A partition keeps it back until that is over."""
    throttles: tuple[tuple[int, int], ...] = ()
    """The throttles it has to pass: (instance, microseconds from one envelope to the next)."""
    faults: tuple[int, ...] = ()
    """The instances that changed something of it, in the order in which they acted, without throttles. Partitions that
    hold it back come first."""


_UNHARMED: Final = Decision((0,))


class _Link:
    """What a plan does to envelopes from one robot to another: its faults, in order, sorted by what they do."""

    def __init__(self, faults: Sequence[tuple[int, MessageFault]], bursts: Mapping[int, Bursts]) -> None:
        partitions = [(instance, fault) for instance, fault in faults if isinstance(fault, Partition)]
        self.is_free = not faults
        self.cuts = tuple(instance for instance, partition in partitions if not partition.is_hold)
        self.holds = tuple(instance for instance, partition in partitions if partition.is_hold)
        self.bursts = tuple((instance, bursts[instance]) for instance, fault in faults if isinstance(fault, BurstLoss))
        self.shaping = tuple((instance, fault.apply) for instance, fault in faults if isinstance(fault, Shaping))
        self.throttles = tuple((instance, fault.gap_us) for instance, fault in faults if isinstance(fault, Throttle))
        self._corrupting = tuple((instance, fault) for instance, fault in faults if isinstance(fault, Corrupt))
        self.is_special = bool(self.holds or self.throttles or self._corrupting)

    def damage(self, draws: Draws) -> tuple[int, float] | None:
        """The first fault that flips a bit, and its flip: a second one could undo it."""
        for instance, corrupt in self._corrupting:
            damage = corrupt.damage(draws, instance)
            if damage is not None:
                return instance, damage
        return None


class Plan:
    """Faults in force, ready to decide fates."""

    def __init__(self, change: PlanChange) -> None:
        """Raises PlanSyntaxError when a text in `change` is no fault."""
        self.change = change
        faults = [(planned.instance, parse_fault(planned.text)) for planned in change.faults]
        self._faults = sorted(faults, key=lambda pair: (_ORDER[pair[1].name], pair[0]))
        self._bursts = {
            instance: Bursts(fault, instance) for instance, fault in self._faults if isinstance(fault, BurstLoss)
        }
        is_same_for_all = all(fault.target == EVERYONE for _, fault in faults)
        self._only_link = _Link(self._faults, self._bursts) if is_same_for_all else None
        self._links: dict[tuple[str, str], _Link] = {}

    def fate(self, dice: Dice, sender: str, incarnation: int, receiver: str, sequence: int) -> Decision:
        """The fate of one envelope. Names are those of robots (broker/envelope.py)."""
        link = self._only_link or self._link(sender, receiver)
        if link.cuts:
            return Decision((), faults=link.cuts[:1])
        if link.is_free:
            return _UNHARMED
        draws = dice.of(sender, incarnation, receiver, sequence)
        for instance, bursts in link.bursts:
            if bursts.is_bad(dice, sender, incarnation, receiver, sequence, draws):
                return Decision((), faults=(instance,))
        deliveries: Deliveries = (0,)
        faults: tuple[int, ...] = ()
        for instance, apply in link.shaping:
            before, deliveries = deliveries, apply(deliveries, draws, instance)
            if deliveries != before:
                faults += (instance,)
                if not deliveries:
                    return Decision((), faults=faults)
        if link.is_special:
            return _special(link, deliveries, faults, draws)
        return Decision(deliveries, faults=faults)

    def holds(self, sender: str, receiver: str) -> bool:
        """Whether a partition keeps back what goes from `sender` to `receiver`."""
        return bool((self._only_link or self._link(sender, receiver)).holds)

    def _link(self, sender: str, receiver: str) -> _Link:
        link = self._links.get((sender, receiver))
        if link is None:
            numbers = int(sender[1:]), int(receiver[1:])
            selected = [(instance, fault) for instance, fault in self._faults if fault.target.selects(*numbers)]
            link = _Link(selected, self._bursts)
            if len(self._links) >= _MOST_LINKS:
                self._links.clear()
            self._links[sender, receiver] = link
        return link


def _special(link: _Link, deliveries: Deliveries, faults: tuple[int, ...], draws: Draws) -> Decision:
    """The decision for copies that a partition holds, that are damaged, or that pass throttles."""
    damage = link.damage(draws)
    if damage is not None:
        faults += damage[:1]
    return Decision(
        deliveries, None if damage is None else damage[1], bool(link.holds), link.throttles, link.holds + faults
    )


def median_delay_us(faults: Iterable[Fault | Heal]) -> int:
    """The median of the delays that `faults` put on every copy, in microseconds. Retransmission timers respect it."""
    delays = [fault for fault in faults if isinstance(fault, Delay | LognormalDelay)]
    return sum(delay.median_us for delay in delays if delay.target == EVERYONE)
