"""What passed between each two robots: envelopes sent and arrived, and the exchanges that one began with the other."""

from __future__ import annotations

from collections import defaultdict
from typing import Final, NamedTuple

from telemetry.events import ExchangeEnded, MessageReceived, MessageRepeated, MessageSent, PartsMerged, Stamped
from telemetry.view import View

DURATIONS_KEPT: Final = 64
"""Exchanges of a pair whose durations are kept: the newest."""

_COUNTED: Final = frozenset({MessageSent, MessageReceived, ExchangeEnded, MessageRepeated, PartsMerged})

Pair = tuple[str, str]


class PairTraffic(NamedTuple):
    """From one robot to another. `arrived` counts envelopes, `copies` what came of them, and `repeated` copies that
    came again; `useful`: copies that taught the receiver something."""

    sent: int
    arrived: int
    copies: int
    repeated: int
    useful: int


class Exchanges(NamedTuple):
    """Those that a robot began with a peer, by outcome; and how long the newest took, in microseconds, sorted."""

    equal: int
    answered: int
    timeout: int
    took_us: tuple[int, ...]


class Pairs:
    """Counts by (sender, receiver). Of each robot: the envelopes that were sent to it, those of them that arrived, and
    those of its own that arrived elsewhere; what it sent itself is in its traffic."""

    def __init__(self) -> None:
        self.sent_to: defaultdict[str, int] = defaultdict(int)
        self.arrived_from: defaultdict[str, int] = defaultdict(int)
        self.arrived_at: defaultdict[str, int] = defaultdict(int)
        self._sent: defaultdict[Pair, int] = defaultdict(int)
        self._arrived: defaultdict[Pair, int] = defaultdict(int)
        self._copies: defaultdict[Pair, int] = defaultdict(int)
        self._repeated: defaultdict[Pair, int] = defaultdict(int)
        self._useful: defaultdict[Pair, int] = defaultdict(int)
        self._ended: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self._took_us: dict[Pair, tuple[int, ...]] = {}

    def of(self, sender: str, receiver: str) -> PairTraffic:
        """What passed from one robot to another."""
        counts = (self._sent, self._arrived, self._copies, self._repeated, self._useful)
        return PairTraffic(*(each.get((sender, receiver), 0) for each in counts))

    def exchanges(self, robot: str, peer: str) -> Exchanges:
        """The exchanges that `robot` began with `peer`."""
        equal, answered, timeout = (
            self._ended.get((robot, peer, each), 0) for each in ("equal", "answered", "timeout")
        )
        return Exchanges(equal, answered, timeout, tuple(sorted(self._took_us.get((robot, peer), ()))))

    def handle(self, stamped: Stamped, view: View) -> None:  # noqa: ARG002
        """Count an event of a robot."""
        event, robot = stamped.event, stamped.source
        if type(event) not in _COUNTED:
            return
        if isinstance(event, MessageSent):
            self._sent[robot, event.receiver] += 1
            self.sent_to[event.receiver] += 1
        elif isinstance(event, MessageReceived):
            pair = event.sender, robot
            self._copies[pair] += 1
            if event.copy == 0:  # an envelope that arrives has this copy, and others only if it was duplicated
                self._arrived[pair] += 1
                self.arrived_from[event.sender] += 1
                self.arrived_at[robot] += 1
        elif isinstance(event, ExchangeEnded):
            self._ended[robot, event.peer, event.outcome] += 1
            if event.outcome != "timeout":
                took_us = self._took_us.get((robot, event.peer), ())
                self._took_us[robot, event.peer] = (*took_us[1 - DURATIONS_KEPT :], event.took_us)
        elif isinstance(event, MessageRepeated):
            self._repeated[event.sender, robot] += 1
        elif isinstance(event, PartsMerged):
            self._useful[event.sender, robot] += 1

    def copy(self) -> Pairs:
        other = Pairs()
        for name, counts in vars(self).items():
            setattr(other, name, counts.copy())
        return other
