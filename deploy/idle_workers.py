"""Which RQ workers have nothing to do. Pure: told by what was seen of them, and by our own clock.

RQ keeps what it knew of one that was killed for a minute, so only one that is heard of counts: whose heartbeat changed
while we looked. Those that a parent keeps for its own robots are never idle in this sense: it started them for robots
that will be back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

IDLE_S: Final = 1.0
HEARD_S: Final = 2.5  # since its last heartbeat: they come every second at the latest

_KEPT: Final = re.compile(r"[0-9a-f]{6}\.w[0-9]+(\.[0-9]+)?")  # no name that a person gives


class WorkerSeen(msgspec.Struct, frozen=True):
    """An RQ worker as RQ knows it: its name, what it does (`idle`, `busy` …) and when it was last heard of, in RQ's
    own words."""

    name: str
    state: str
    beat: str


class _Idle(msgspec.Struct):
    since_s: float
    beat: str
    heard_s: float | None = None


def kept_name(run: str, number: int, life: int) -> str:
    """The name by which RQ knows an RQ worker that a run's parent keeps: its `life`-th (from 1) at that place."""
    return f"{run}.w{number:02d}" + (f".{life}" if life > 1 else "")


class IdleWorkers:
    """Remembers since when each has been idle, without a break, as far as was seen."""

    def __init__(self) -> None:
        self._idle: dict[str, _Idle] = {}

    def among(self, seen: Iterable[WorkerSeen], now_s: float) -> list[str]:
        """The names of those that have been idle for IDLE_S and are alive, in their order. To be called several times
        a second, with a monotonic clock's seconds."""
        before, self._idle = self._idle, {}
        found = []
        for worker in seen:
            if worker.state != "idle" or _KEPT.fullmatch(worker.name):
                continue
            idle = before.get(worker.name) or _Idle(now_s, worker.beat)
            if idle.beat != worker.beat:
                idle.beat, idle.heard_s = worker.beat, now_s
            self._idle[worker.name] = idle
            is_alive = idle.heard_s is not None and now_s - idle.heard_s < HEARD_S
            if is_alive and now_s - idle.since_s >= IDLE_S:
                found.append(worker.name)
        return sorted(found)
