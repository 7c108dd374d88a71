"""Broken relays: each class breaks the relay's core in one way. The robots and the leader are as they should be."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from broker.envelope import Envelope
from broker.relay.core import NEVER_US, Copy, Fate, HeldEnvelope, Id, Relay

_AT_ONCE_US: Final = 0  # before any time: such a copy is due


class HoldsNoDelay(Relay):
    """Puts every copy out at once, although its fate says later."""

    def due(self, now_us: int) -> list[Copy]:
        del now_us
        return super().due(NEVER_US)


class LeaksHeldMessages(Relay):
    """Puts out what a partition holds back, and records later that it was held until the release."""

    def __init__(self, run: str, seed: int) -> None:
        super().__init__(run, seed)
        self._leaked: set[str] = set()

    def _hold(self, held: HeldEnvelope, sender: str, receiver: str) -> None:
        entry, before = held.fate.entry, self.held_messages
        super()._hold(held, sender, receiver)
        if self.held_messages > before:  # it is held, and only its fate is owed
            self._leaked.add(entry)
            self._owed[entry] += len(held.fate.deliveries)
            for number in range(len(held.fate.deliveries)):
                copy = Copy(entry, number, receiver, held.frame, _AT_ONCE_US)
                self._delay_queue.add(_AT_ONCE_US, len(held.frame), copy)

    def _put_later(self, freed: Id, at: Id, fate: Fate, frame: bytes) -> None:
        if fate.entry not in self._leaked:
            super()._put_later(freed, at, fate, frame)
            return
        hold_us = (freed[0] - at[0]) * 1000
        self._fates.append(replace(fate, deliveries=tuple(delay_us + hold_us for delay_us in fate.deliveries)))


class AcksEarly(Relay):
    """Acknowledges an entry once its fate is recorded: before its copies are stored."""

    def _put(self, at: Id, fate: Fate, frame: bytes) -> None:
        super()._put(at, fate, frame)
        self._owed[fate.entry] = 1

    def confirm(self, *entries: str) -> None:
        super().confirm(*dict.fromkeys(entry for entry in entries if entry in self._owed))


class FencesNoLife(Relay):
    """Delivers what an older life sends after the birth of a later one."""

    def _is_stale(self, at: Id, envelope: Envelope) -> bool:
        del at, envelope
        return False
