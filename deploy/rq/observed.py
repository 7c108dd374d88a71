"""Which RQ workers have nothing to do. Pure: told by what was seen of them, and by our own clock.

RQ keeps what it knew of one that was killed for a minute, so only one that is heard of counts: whose heartbeat changed
while we looked. Those that a parent keeps for its own robots are never idle in this sense: it started them for robots
that will be back.

Where the jobs of a run's robots stand, as it was last seen: looked at now and then, and shared by all who need it.

Remembered, because RQ cannot be asked while the server is away. Nothing is done about any job here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from deploy.rq.leases import HEARTBEAT_S, LEASE_S

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


DOUBT_S: Final = 1.25 * HEARTBEAT_S  # without a sign of life

State = Literal["queued", "waiting", "taken", "running", "lost", "done"]
"""What a robot's job does: it stands in the queue for its first life (`queued`) or for another (`waiting`); an RQ
worker has taken it and has no lease yet, if it ever gets one (`taken`); it is run under a lease (`running`), or under
one that has run out (`lost`; it is also lost when it is nowhere at all); or it is `done`, or was never queued."""


class JobSeen(msgspec.Struct, frozen=True):
    """Where a robot's job stood at one moment. `worker` is RQ's name of who ran it last, or runs it. `until_s` is the
    time at which its lease runs out, by that one's clock; `lease_left_s` the rest of it, by the server's. `pid` and
    `host` are where its process is, or was."""

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
        """Whether somebody holds a lease on it, run out or not: hosts' clocks may differ, and who is lost is told by
        change alone (LostJobs)."""
        return bool(self.lease)


class LostJobs:
    """Tells which jobs are lost: those of which nothing was heard for as long as a lease lasts.

    Told by our own clock and by change alone (the same lease not renewed, a job taken and no lease on it), so that
    neither another host's clock misleads, nor an outage in which nobody could renew. Only time in which we looked, and
    a lease could be renewed (`look`), counts: after a gap longer than a heartbeat, everybody has a whole lease again.
    """

    def __init__(self) -> None:
        self._since_s: dict[JobSeen, float] = {}
        self._looked_s = float("-inf")
        self.is_in_doubt = False
        """Whether any job was missed at the last look: its lease was not renewed when it should have been."""

    def among(self, seen: Iterable[JobSeen], now_s: float) -> list[JobSeen]:
        """Those of the jobs that are lost, each told once: what is then done about it may look the same from here.
        To be called several times a second, with a monotonic clock's seconds."""
        before = self._since_s if now_s - self._looked_s <= HEARTBEAT_S else {}
        signs = {msgspec.structs.replace(job, lease_left_s=0.0, state="lost"): job for job in seen if _is_in_hand(job)}
        self._since_s = {sign: before.get(sign, now_s) for sign in signs}
        self._looked_s = now_s
        self.is_in_doubt = any(now_s - since_s > DOUBT_S for since_s in self._since_s.values())
        lost = [sign for sign, since_s in self._since_s.items() if now_s - since_s >= LEASE_S]
        self._since_s |= dict.fromkeys(lost, now_s)
        return [signs[sign] for sign in lost]


def _is_in_hand(job: JobSeen) -> bool:
    return job.state in ("taken", "running", "lost")
