"""The RQ workers of a run on its parent's host: one for each dealt robot, and a successor for each that dies.

The robot of a dead RQ worker does not wait for its lease to run out: the lease is revoked, and the robot is queued at
once. Its own restart policy decides whether it may be born again (robots/restart_budget.py), so RQ workers are started
again without a limit, after growing delays.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from broker.errors import Unavailable
from deploy.fleet.restarts import RestartSchedule
from deploy.processes.children import ChildDeath, Children
from deploy.rq.observed import kept_name
from robots.supervision import RestartPolicy

KIND: Final = "rq:"
_POLICY: Final = RestartPolicy(max_restarts=1_000_000)

Spawn = Callable[[str, str], None]
"""Starts an RQ worker: its name in the fleet, and the one by which RQ knows it."""

Revoke = Callable[[str], None]
"""Revokes the lease of an RQ worker that is known to be dead; its robot is queued. Raises Unavailable."""


class RqWorkerGroup:
    """`rq:w00`, `rq:w01` …; the queue decides which robot each runs. Each life has another name in RQ, which refuses a
    name whose key has not run out yet."""

    def __init__(self, run: str, count: int, fleet: Children, spawn: Spawn, revoke: Revoke) -> None:
        self._run = run
        self._fleet = fleet
        self._spawn = spawn
        self._revoke = revoke
        self._lives = dict.fromkeys((f"{KIND}w{number:02d}" for number in range(count)), 0)
        self._restarts = RestartSchedule(_POLICY)
        self._unrevoked: list[str] = []  # RQ's names of dead RQ workers that may still have a lease

    @property
    def names(self) -> list[str]:
        """Their names in the fleet."""
        return list(self._lives)

    @property
    def rq_names(self) -> list[str]:
        """All names that they have had in RQ."""
        return [self._rq_name(name, life) for name, lives in self._lives.items() for life in range(1, lives + 1)]

    def start(self, is_wanted: Callable[[], bool]) -> None:
        """The first life of each, as long as they are wanted."""
        for name in self._lives:
            if not is_wanted():
                return
            self._start(name)

    def replace(self, death: ChildDeath, is_charged: bool = True) -> None:
        """Schedule a dead RQ worker's successor, and the revocation of its lease. Other deaths are ignored; a death by
        an injection is not charged."""
        if death.name not in self._lives:
            return
        self._restarts.died(death.name, is_charged)
        self._unrevoked.append(self.rq_name(death.name))

    @property
    def is_whole(self) -> bool:
        """Whether all live, and no lease of a dead one is left to revoke."""
        return self.due_s is None and not self._unrevoked

    @property
    def due_s(self) -> float | None:
        """When the next one is to be started (`time.monotonic()`), if any is."""
        return self._restarts.due_s

    def start_due(self, now_s: float) -> None:
        """Revoke the leases of the dead, if the server answers, and start the successors that are due."""
        with suppress(Unavailable):
            while self._unrevoked:
                self._revoke(self._unrevoked[0])
                del self._unrevoked[0]
        for name in self._restarts.take_due(now_s):
            self._start(name)

    def end(self, grace_s: float) -> list[ChildDeath]:
        """End all, in order if they can; their deaths."""
        self._restarts.cease()
        return self._fleet.end(self.names, grace_s)

    def rq_name(self, name: str) -> str:
        """RQ's name of the present life of one."""
        return self._rq_name(name, self._lives[name])

    def name_of(self, rq_name: str) -> str | None:
        """The name in the fleet of the one whose present life has `rq_name` in RQ; None: it is none of ours."""
        return next((name for name in self._lives if self.rq_name(name) == rq_name), None)

    def _rq_name(self, name: str, life: int) -> str:
        return kept_name(self._run, int(name.removeprefix(f"{KIND}w")), life)

    def _start(self, name: str) -> None:
        self._lives[name] += 1
        self._spawn(name, self.rq_name(name))
