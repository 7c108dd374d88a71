"""The relays of a run on its parent's host: started again by the restart policy, and drained for certain at the end.

A relay redoes what its last life left pending, so it may be killed and started again at any time. What a relay does is
in deploy/fleet/relay_main.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

from deploy.attach.holders import new_token
from deploy.fleet.restarts import RestartSchedule
from deploy.processes.children import ChildDeath, Children
from robots.supervision import GiveUp, RestartPolicy
from telemetry.events import AnyEvent, WorkerGaveUp

DRAIN_S: Final = 15.0  # for a relay to empty its outbox and end, before it is killed
MOST_DRAINS: Final = 3  # lives beside the first that may try to
_KIND: Final = "relay:"


class Spawn(Protocol):
    """Starts the relay of a shard under `name`. `is_last`: its only task is to empty the outbox.

    `holder` is what it holds the shard's lease by: the same for every life, because a new one is only ever started when
    the last one is known to be dead.
    """

    def __call__(self, name: str, shard: int, incarnation: int, holder: str, is_last: bool) -> None: ...


class RelayGroup:
    """One relay for each of `shards` shards, named `relay:0`, `relay:1` …; their lives are numbered 1, 2, 3 …"""

    def __init__(self, shards: int, fleet: Children, spawn: Spawn, emit: Callable[[AnyEvent], None]) -> None:
        self._shards = range(shards)
        self._fleet = fleet
        self._spawn = spawn
        self._emit = emit
        self._lives: Counter[int] = Counter()
        self._holders = [new_token(None) for _ in self._shards]
        self._restarts = RestartSchedule(RestartPolicy())

    def start(self) -> None:
        """The first life of each."""
        for shard in self._shards:
            self._start(shard)

    def replace(self, death: ChildDeath, is_charged: bool = True) -> None:
        """Schedule a dead relay's successor, if the restart policy allows one; otherwise emit an event. Deaths of other
        processes are ignored; a death by an injection is not charged."""
        if not death.name.startswith(_KIND):
            return
        decision = self._restarts.died(death.name, is_charged)
        if isinstance(decision, GiveUp):
            self._emit(WorkerGaveUp(death.name, decision.crashes))

    @property
    def due_s(self) -> float | None:
        """When the next relay is to be started (`time.monotonic()`), if any is."""
        return self._restarts.due_s

    def start_due(self, now_s: float) -> None:
        """Start the relays that are due."""
        for name in self._restarts.take_due(now_s):
            self._start(_shard_of(name))

    def drain(self) -> list[ChildDeath]:
        """End all, every outbox being emptied if that is possible at all; their deaths.

        To be called when no robot sends any more. A relay that is dead, or does not end in order, gets a further life.
        """
        self._restarts.cease()
        deaths = self._end(self._shards, is_asked=True)
        for _ in range(MOST_DRAINS):
            drained = {_shard_of(death.name) for death in deaths if death.status == 0}
            left = [shard for shard in self._shards if shard not in drained]
            for shard in left:
                self._start(shard, is_last=True)
            deaths += self._end(left, is_asked=False)
        return deaths

    def _end(self, shards: range | list[int], is_asked: bool) -> list[ChildDeath]:
        return self._fleet.end([f"{_KIND}{shard}" for shard in shards], DRAIN_S, is_asked)

    def _start(self, shard: int, is_last: bool = False) -> None:
        self._lives[shard] += 1
        self._spawn(f"{_KIND}{shard}", shard, self._lives[shard], self._holders[shard], is_last)


def _shard_of(name: str) -> int:
    return int(name.removeprefix(_KIND))
