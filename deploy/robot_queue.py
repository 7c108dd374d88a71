"""RQ as those use it from outside who look after robots: robots are queued, looked for, put back, and withdrawn.

No robot and no RQ worker runs in here (deploy/rq_worker.py), and none of the keys is ours: their names are RQ's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, Literal

import msgspec
import redis
import rq
from redis.exceptions import WatchError
from rq.exceptions import DuplicateJobError
from rq.executions import WORKER_EXECUTIONS_KEY_TEMPLATE, ExecutionRegistry
from rq.job import Job, JobStatus
from rq.results import Result
from rq.utils import as_text, parse_composite_key
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY, clean_worker_registry

from broker.errors import Unavailable
from broker.streams.retry import TROUBLE
from deploy.holding import HOST, PID, QUEUE, leases_of, put_back, queue_of_robots
from deploy.idle_workers import WorkerSeen
from deploy.robot_job import LIVES, job_id
from deploy.rq_job import ROBOT_JOB, RobotJob
from deploy.rq_worker import HEARTBEAT_S, LEASE_S

FAILURE_KEPT_S: Final = 300
DOUBT_S: Final = 1.25 * HEARTBEAT_S  # without a sign of life

_OVER: Final = (None, JobStatus.FINISHED, JobStatus.FAILED, JobStatus.STOPPED, JobStatus.CANCELED)

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


def enqueue_robot(connection: redis.Redis, run: str, robot: str) -> None:
    """Queue a robot's job, unless RQ knows it already. Its arguments are names: no secret, no address travels in them.

    Raises ValueError when the names do not make a job id (letters, digits, `-` and `_`), and Unavailable.
    """
    try:
        with suppress(DuplicateJobError):
            queue_of_robots(connection, RobotJob).enqueue_call(
                ROBOT_JOB,
                args=(run, robot),
                timeout=-1,
                result_ttl=0,
                failure_ttl=FAILURE_KEPT_S,
                retry=rq.Retry(max=LIVES),
                job_id=job_id(run, robot),
                description=f"{robot} of {run}",
                unique=True,
            )
    except TROUBLE as error:
        raise Unavailable(f"RQ: {error}") from error


def rq_workers(connection: redis.Redis, more_than: int = 0) -> list[WorkerSeen]:
    """The RQ workers for robots, if RQ knows of more than so many; those that it would soon forget are forgotten now.
    Raises Unavailable."""
    key = WORKERS_BY_QUEUE_KEY % QUEUE
    try:
        if connection.scard(key) <= more_than:
            return []
        names = sorted(map(as_text, connection.smembers(key)))
        with connection.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hmget(name, "state", "last_heartbeat")
            found: list[Any] = pipe.execute()
        if any(state is None for state, _ in found):
            clean_worker_registry(queue_of_robots(connection))
    except TROUBLE as error:
        raise Unavailable(f"RQ: {error}") from error
    prefix = rq.Worker.redis_worker_namespace_prefix
    return [
        WorkerSeen(name.removeprefix(prefix), as_text(state), as_text(beat or b""))
        for name, (state, beat) in zip(names, found, strict=True)
        if state is not None
    ]


def look(connection: redis.Redis, run: str, robots: Sequence[str], *, could_renew: bool = False) -> list[JobSeen]:
    """Where the jobs of these robots stand, all at one moment. Raises Unavailable; with `could_renew`, also while the
    server only lets itself be read: then nobody could have renewed a lease, and silence means nothing."""
    queue = queue_of_robots(connection)
    jobs = [job_id(run, robot) for robot in robots]
    try:
        with connection.pipeline(transaction=True) as pipe:
            pipe.time()
            pipe.lrange(queue.key, 0, -1)
            pipe.lrange(queue.intermediate_queue_key, 0, -1)
            pipe.zrange(queue.started_job_registry.key, 0, -1, withscores=True)
            for job in jobs:
                pipe.hmget(Job.key_for(job), "status", "started_at", "worker_name", PID, HOST)
            if could_renew:  # a write that changes nothing, and is refused whenever a renewal is
                pipe.zadd(queue.started_job_registry.key, {"": 0}, xx=True)
            (seconds, _), queued, taken, leases, *hashes = pipe.execute()
    except TROUBLE as error:
        raise Unavailable(f"RQ: {error}") from error
    held = {parse_composite_key(as_text(lease))[0]: (as_text(lease), float(until)) for lease, until in leases}
    waiting, in_hand = set(map(as_text, queued)), set(map(as_text, taken))
    return [
        _seen(robot, fields, job in waiting, job in in_hand, held.get(job), seconds)
        for robot, job, fields in zip(robots, jobs, hashes[: len(jobs)], strict=True)
    ]


def requeue(connection: redis.Redis, run: str, seen: JobSeen) -> bool:
    """Queue a lost robot's job again: to whoever held it, the lease is gone. False when it was no longer as `seen`:
    somebody else has done so, or it is done. Twice does no harm, and never makes it stand in the queue twice.
    Raises Unavailable."""
    return _put_back(connection, job_id(run, seen.robot), seen.lease)


def revoke(connection: redis.Redis, run: str, robots: Sequence[str], worker: str) -> list[str]:
    """An RQ worker is known to be dead: its leases are over, and those of these robots that it ran are queued again at
    once. A job that it had taken and not leased yet is not among them: it shows as `taken`. Raises Unavailable."""
    seen = look(connection, run, robots)
    return [job.robot for job in seen if job.worker == worker and job.lease and requeue(connection, run, job)]


def withdraw_robot(connection: redis.Redis, run: str, robot: str) -> None:
    """Remove a robot's job with all that RQ keeps about it, wherever it stands: queued, just taken, run or failed.

    For when no RQ worker runs it any more. Twice does no harm. Raises redis-py's errors.
    """
    job, queue = job_id(run, robot), queue_of_robots(connection)
    executions = ExecutionRegistry(job, connection)
    names = [f"{job}:{name}" for name in executions.get_execution_ids()]
    leases = leases_of(connection, job)
    with connection.pipeline() as pipe:
        pipe.lrem(queue.key, 0, job)
        pipe.lrem(queue.intermediate_queue_key, 0, job)
        pipe.zrem(queue.started_job_registry.key, job, *leases)
        for registry in (queue.failed_job_registry, queue.finished_job_registry, queue.canceled_job_registry):
            pipe.zrem(registry.key, job)
        pipe.delete(RobotJob.key_for(job), RobotJob.dependents_key_for(job), Result.get_key(job))  # type: ignore[no-untyped-call]
        pipe.delete(executions.key, *(f"rq:execution:{execution}" for execution in {*names, *leases}))
        pipe.execute()


def withdraw_workers(connection: redis.Redis, names: Iterable[str]) -> None:
    """Remove what RQ still keeps about RQ workers that have ended; and the queue's name, if nobody uses it.

    Twice does no harm. Raises redis-py's errors.
    """
    with connection.pipeline() as pipe:
        for name in names:
            key = f"{rq.Worker.redis_worker_namespace_prefix}{name}"
            pipe.srem(REDIS_WORKER_KEYS, key)
            pipe.srem(WORKERS_BY_QUEUE_KEY % QUEUE, key)
            pipe.delete(key, WORKER_EXECUTIONS_KEY_TEMPLATE.format(name))
        pipe.execute()
    _forget_idle_queue(connection)


def _is_in_hand(job: JobSeen) -> bool:
    return job.state in ("taken", "running", "lost")


def _seen(
    robot: str,
    fields: Sequence[Any],
    is_queued: bool,
    is_taken: bool,
    lease: tuple[str, float] | None,
    now_s: int,
) -> JobSeen:
    status, started_at, worker, pid, host = (None if field is None else as_text(field) for field in fields)
    if status in _OVER:
        return JobSeen(robot, "done")
    by = worker or ""
    if is_queued:
        return JobSeen(robot, "waiting" if started_at else "queued", by)
    if lease is None:
        return JobSeen(robot, "taken" if is_taken else "lost", by)
    name, until_s = lease
    left_s = until_s - now_s
    return JobSeen(robot, "running" if left_s > 0 else "lost", by, name, until_s, left_s, int(pid or 0), host or "")


def _put_back(connection: redis.Redis, job: str, lease: str) -> bool:
    try:
        return put_back(connection, job, lease)
    except TROUBLE as error:
        raise Unavailable(f"RQ: {error}") from error


def _forget_idle_queue(connection: redis.Redis) -> None:
    """Whoever queues something later makes it known anew; whoever does so just now is left alone."""
    queue = queue_of_robots(connection)
    with connection.pipeline() as pipe:
        pipe.watch(queue.key, WORKERS_BY_QUEUE_KEY % QUEUE)  # type: ignore[no-untyped-call]
        if pipe.exists(queue.key, WORKERS_BY_QUEUE_KEY % QUEUE):
            return
        pipe.multi()
        pipe.srem(rq.Queue.redis_queues_keys, queue.key)
        try:
            pipe.execute()
        except WatchError:
            return
