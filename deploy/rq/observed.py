"""Which RQ workers are idle, and which jobs are lost. Pure: computed from polls of RQ and our own monotonic clock.

RQ keeps the entry of a killed RQ worker for a minute, so only one whose heartbeat changed between polls counts. The RQ
workers that a parent keeps for its own robots are never idle in this sense: their robots will be back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from deploy.rq.leases import HEARTBEAT_S, LEASE_S, WORKER_TTL_S

DOUBT_S: Final = 1.25 * HEARTBEAT_S  # without a renewal
IDLE_S: Final = 1.0
"""After which an RQ worker counts as idle."""

JOIN_S: Final = DOUBT_S + 0.75
"""After which a new robot may join for an idle RQ worker: the replacement of one that has just died is idle for less
when the lost robot's lease is overdue, though jobs are polled only every half second."""

ALIVE_S: Final = 2.5  # since its last heartbeat: they come every second at the latest
_KEY_S: Final = WORKER_TTL_S + 60  # for which RQ keeps an idle RQ worker's entry, from each heartbeat on
_KEPT: Final = re.compile(r"[0-9a-f]{6}\.w[0-9]+(\.[0-9]+)?")  # no name that a person gives


class WorkerSeen(msgspec.Struct, frozen=True):
    """An RQ worker as RQ knows it: its name, its state (`idle`, `busy` …) and its last heartbeat, in RQ's own words."""

    name: str
    state: str
    beat: str


def is_free(name: str, state: str, key_left_s: float) -> bool:
    """Whether an RQ worker is idle and alive, from one poll: RQ keeps its entry for `key_left_s` more, by the server's
    clock. One that a parent keeps is never free."""
    return state == "idle" and not _KEPT.fullmatch(name) and _KEY_S - key_left_s < ALIVE_S


class _Idle(msgspec.Struct):
    since_s: float
    beat: str
    beat_s: float | None = None


def kept_name(run: str, number: int, life: int) -> str:
    """The name by which RQ knows an RQ worker that a run's parent keeps: its `life`-th life (from 1) at that place."""
    return f"{run}.w{number:02d}" + (f".{life}" if life > 1 else "")


def is_kept_name(run: str, name: str) -> bool:
    """Whether that is the name of an RQ worker that the parent of `run` keeps."""
    return name.startswith(f"{run}.") and _KEPT.fullmatch(name) is not None


class IdleWorkers:
    """Keeps since when each RQ worker has been idle without a break, as far as the polls show."""

    def __init__(self) -> None:
        self._idle: dict[str, _Idle] = {}

    def among(self, seen: Iterable[WorkerSeen], now_s: float) -> dict[str, float]:
        """For how long those have been idle that have been so for IDLE_S and are alive, by name (seconds). To be called
        several times a second, with a monotonic clock's seconds."""
        before, self._idle = self._idle, {}
        found: dict[str, float] = {}
        for worker in seen:
            if worker.state != "idle" or _KEPT.fullmatch(worker.name):
                continue
            idle = before.get(worker.name) or _Idle(now_s, worker.beat)
            if idle.beat != worker.beat:
                idle.beat, idle.beat_s = worker.beat, now_s
            self._idle[worker.name] = idle
            is_alive = idle.beat_s is not None and now_s - idle.beat_s < ALIVE_S
            if is_alive and now_s - idle.since_s >= IDLE_S:
                found[worker.name] = now_s - idle.since_s
        return found


State = Literal["queued", "waiting", "taken", "running", "lost", "done"]
"""The state of a robot's job: in the queue for its first life (`queued`) or for another (`waiting`); taken by an RQ
worker that has no lease yet (`taken`); run under a lease (`running`), or under one that has run out, or nowhere at all
(`lost`); or `done`, or never queued (`done`, too)."""


class JobSeen(msgspec.Struct, frozen=True):
    """A robot's job at one moment. `worker` is RQ's name of the RQ worker that runs it, or ran it last. `until_s` is
    when its lease runs out, by the server's clock; `lease_left_s` is the rest of it. `pid` and `host`
    are where its process is, or was; 0 and empty while a new lease is not claimed yet."""

    robot: str
    state: State
    worker: str = ""
    lease: str = ""
    until_s: float = 0.0
    lease_left_s: float = 0.0
    pid: int = 0
    host: str = ""

    @property
    def is_held(self) -> bool:
        """Whether there is a lease on it, run out or not: only LostJobs decides what is lost."""
        return bool(self.lease)


class LostJobs:
    """Which jobs are lost: those that did not change for as long as a lease lasts.

    Decided by our own clock and by change alone (the same lease not renewed, a job taken and no lease on it), so that
    neither another host's clock misleads, nor an outage in which no lease could be renewed. Only time between polls at
    which a lease could be renewed counts: after a gap longer than a heartbeat, every job has a whole lease again.
    """

    def __init__(self) -> None:
        self._since_s: dict[JobSeen, float] = {}
        self._begun_s = self._polled_s = float("-inf")
        self.is_any_overdue = False
        """Whether the lease of any job was overdue for renewal at the last poll."""
        self.is_watching = False
        """Whether leases were watched by then for as long as one lasts: any that is a dead RQ worker's was found."""

    def among(self, seen: Iterable[JobSeen], now_s: float) -> list[JobSeen]:
        """Those of the jobs that are lost, each given once, because it may look the same after it was handled. To be
        called several times a second, with a monotonic clock's seconds."""
        before = self._since_s
        if now_s - self._polled_s > HEARTBEAT_S:
            before, self._begun_s = {}, now_s
        leased = {msgspec.structs.replace(job, lease_left_s=0.0, state="lost"): job for job in seen if _is_taken(job)}
        self._since_s = {job: before.get(job, now_s) for job in leased}
        self._polled_s = now_s
        self.is_watching = now_s - self._begun_s > LEASE_S
        self.is_any_overdue = any(now_s - since_s > DOUBT_S for since_s in self._since_s.values())
        lost = [job for job, since_s in self._since_s.items() if now_s - since_s >= LEASE_S]
        self._since_s |= dict.fromkeys(lost, now_s)
        return [leased[job] for job in lost]


def _is_taken(job: JobSeen) -> bool:
    return job.state in ("taken", "running", "lost")
