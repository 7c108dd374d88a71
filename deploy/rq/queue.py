"""The queue of robots' jobs, from outside: jobs are queued, polled, queued again and withdrawn. The last poll is
kept in a table that all users share.

No RQ worker runs in here (deploy/rq/worker.py), and all keys are RQ's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

import redis
import rq
from msgspec.structs import replace
from redis.exceptions import OutOfMemoryError, WatchError
from rq.exceptions import DuplicateJobError
from rq.executions import WORKER_EXECUTIONS_KEY_TEMPLATE, ExecutionRegistry
from rq.job import Job, JobStatus
from rq.results import Result
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY

from broker.errors import RunGone, Unavailable
from broker.streams.reading import number_in
from broker.streams.retry import TROUBLE, retry_blocking
from deploy.rq.job import ALWAYS, FAILURE_KEPT_S, ROBOT_JOB, RobotJob, job_id, names_in
from deploy.rq.leases import (
    HOLDER,
    HOST,
    PID,
    QUEUE,
    WORKER,
    leases_of,
    leases_under,
    move_in_queue,
    put_back,
    queue_of_robots,
)
from deploy.rq.observed import JobSeen, State, WorkerSeen, is_free, is_kept_name
from deploy.rq.text import as_text, parse_composite_key

_OVER: Final = (None, JobStatus.FINISHED, JobStatus.FAILED, JobStatus.STOPPED, JobStatus.CANCELED)


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
                retry=rq.Retry(max=ALWAYS),
                job_id=job_id(run, robot),
                description=f"{robot} of {run}",
                unique=True,
            )
    except TROUBLE as error:
        raise Unavailable(f"RQ: {error}") from error


def enqueue_while(connection: redis.Redis, run: str, robot: str, is_there: Callable[[], bool]) -> None:
    """`enqueue_robot`, if the run `is_there` still: a removal withdraws the jobs that it finds, and this one may come
    later. Raises RunGone, too; the job is withdrawn then."""
    enqueue_robot(connection, run, robot)
    if not is_there():
        retry_blocking("RQ", lambda: withdraw_robot(connection, run, robot))
        retry_blocking("RQ", lambda: withdraw_workers(connection, ()))
        raise RunGone(run)


def rq_workers(connection: redis.Redis, more_than: int = 0) -> list[WorkerSeen]:
    """The RQ workers for robots, if RQ knows of more than so many; entries without an RQ worker are removed on the way.
    Raises Unavailable."""
    listed = WORKERS_BY_QUEUE_KEY % QUEUE
    try:
        if connection.scard(listed) <= more_than:
            return []
        keys = _living(connection, listed)
        with connection.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hmget(key, "state", "last_heartbeat")
            found: list[Any] = pipe.execute()
    except TROUBLE as error:
        raise Unavailable(f"RQ: {error}") from error
    prefix = rq.Worker.redis_worker_namespace_prefix
    return [
        WorkerSeen(as_text(key).removeprefix(prefix), as_text(state), as_text(beat or b""))
        for key, (state, beat) in zip(keys, found, strict=True)
        if state is not None
    ]


class WorkerCount(NamedTuple):
    """How many RQ workers for robots there are, and how many of them are `free`: idle, and not kept by a run's
    parent."""

    free: int
    all: int


def count_workers(connection: redis.Redis) -> WorkerCount:
    """One poll, which writes nothing. Killed ones count among all for a while. Raises Unavailable."""
    try:
        keys: list[bytes] = sorted(connection.smembers(WORKERS_BY_QUEUE_KEY % QUEUE))  # type: ignore[arg-type]
        with connection.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hget(key, "state")
                pipe.pttl(key)
            found: list[Any] = pipe.execute(raise_on_error=False)  # anybody may have put something else there
    except TROUBLE as error:
        raise Unavailable(f"RQ: {error}") from error
    prefix = rq.Worker.redis_worker_namespace_prefix
    seen = [
        (as_text(key).removeprefix(prefix), as_text(state), left_ms / 1000)
        for key, state, left_ms in zip(keys, found[::2], found[1::2], strict=True)
        if isinstance(state, bytes) and isinstance(left_ms, int)
    ]
    return WorkerCount(sum(is_free(*worker) for worker in seen), len(seen))


def queued_jobs(connection: redis.Redis) -> int:
    """How many jobs stand in the queue, of all runs. Raises Unavailable."""
    try:
        return int(connection.llen(queue_of_robots(connection).key))
    except TROUBLE as error:
        raise Unavailable(f"RQ: {error}") from error


def poll_jobs(connection: redis.Redis, run: str, robots: Sequence[str], *, could_renew: bool = False) -> list[JobSeen]:
    """The jobs of these robots, all at one moment. Raises Unavailable; with `could_renew`, also while the server
    refuses writes: then no lease could be renewed, and silence means nothing."""
    queue = queue_of_robots(connection)
    jobs = [job_id(run, robot) for robot in robots]
    try:
        replies = _poll(connection, queue, jobs, could_renew, at_once=True)
    except OutOfMemoryError as error:  # Redis 7.0 refuses even what only reads, inside of a transaction
        if could_renew:
            raise Unavailable(f"RQ: {error}") from error
        replies = _poll(connection, queue, jobs, could_renew, at_once=False)  # nothing can be moved meanwhile
    (seconds, _), queued, taken, leases, *hashes = replies
    held = {parse_composite_key(as_text(lease))[0]: (as_text(lease), float(until)) for lease, until in leases}
    waiting, taken_ids = set(map(as_text, queued)), set(map(as_text, taken))
    return _with_workers(
        connection,
        [
            _seen(robot, fields, job in waiting, job in taken_ids, held.get(job), seconds)
            for robot, job, fields in zip(robots, jobs, hashes[: len(jobs)], strict=True)
        ],
    )


def _poll(connection: redis.Redis, queue: rq.Queue, jobs: Sequence[str], could_renew: bool, *, at_once: bool) -> Any:
    """The replies for `poll_jobs`. Raises OutOfMemoryError, Unavailable."""
    try:
        with connection.pipeline(transaction=at_once) as pipe:
            pipe.time()
            pipe.lrange(queue.key, 0, -1)
            pipe.lrange(queue.intermediate_queue_key, 0, -1)
            pipe.zrange(queue.started_job_registry.key, 0, -1, withscores=True)
            for job in jobs:
                pipe.hmget(Job.key_for(job), "status", "started_at", HOLDER, WORKER, HOST, PID)
            if could_renew:  # a write that changes nothing, and is refused whenever a renewal is
                pipe.zadd(queue.started_job_registry.key, {"": 0}, xx=True)
            return pipe.execute()
    except OutOfMemoryError:
        raise
    except TROUBLE as error:
        raise Unavailable(f"RQ: {error}") from error


def _with_workers(connection: redis.Redis, seen: list[JobSeen]) -> list[JobSeen]:
    """The same, with the RQ worker of a lease that was not claimed yet: its execution names it, and never changes.
    Raises Unavailable."""
    unclaimed = [job.lease for job in seen if job.lease and not job.worker]
    if not unclaimed:
        return seen
    try:
        with connection.pipeline(transaction=False) as pipe:
            for lease in unclaimed:
                pipe.hget(f"rq:execution:{lease}", WORKER)
            workers = dict(zip(unclaimed, (as_text(found or b"") for found in pipe.execute()), strict=True))
    except TROUBLE as error:
        raise Unavailable(f"RQ: {error}") from error
    return [replace(job, worker=workers[job.lease]) if job.lease in workers else job for job in seen]


def requeue(connection: redis.Redis, run: str, seen: JobSeen) -> bool:
    """Queue a lost robot's job again; its lease is gone then. False when the job was no longer as `seen`: it is queued
    again already, or done. Twice does no harm: it never stands in the queue twice. Raises Unavailable."""
    return _put_back(connection, job_id(run, seen.robot), seen.lease)


def prefer(connection: redis.Redis, run: str, robot: str) -> bool:
    """Let a robot that waits be the next that an RQ worker takes. False: it does not wait. Raises Unavailable."""
    try:
        return move_in_queue(connection, job_id(run, robot), to_front=True)
    except TROUBLE as error:
        raise Unavailable(f"RQ: {error}") from error


def revoke(connection: redis.Redis, run: str, robots: Sequence[str], worker: str) -> list[str]:
    """End the leases of an RQ worker that is known to be dead, and queue again those of these robots that it ran. A job
    that it had taken and not leased yet is not among them: it shows as `taken`. Raises Unavailable."""
    names = {job_id(run, robot): robot for robot in robots}
    try:
        held = [(job, lease) for job, lease in leases_under(connection, worker) if job in names]
    except TROUBLE as error:
        raise Unavailable(f"RQ: {error}") from error
    return [names[job] for job, lease in held if _put_back(connection, job, lease)]


def robots_under(connection: redis.Redis, workers: Iterable[str]) -> dict[str, list[str]]:
    """The robots that these RQ workers (RQ's names) run, by run. Raises Unavailable."""
    found: dict[str, list[str]] = {}
    try:
        jobs = [job for worker in workers for job, _ in leases_under(connection, worker)]
    except TROUBLE as error:
        raise Unavailable(f"RQ: {error}") from error
    for job in jobs:
        with suppress(ValueError):
            run, robot = names_in(job)
            found.setdefault(run, []).append(robot)
    return found


def withdraw_robot(connection: redis.Redis, run: str, robot: str) -> None:
    """Remove a robot's job with all that RQ keeps about it, wherever it stands: queued, just taken, run or failed.

    To be called when no RQ worker runs it any more. Twice does no harm. Raises redis-py's errors.
    """
    job, queue = job_id(run, robot), queue_of_robots(connection)
    executions = ExecutionRegistry(job, connection)
    listed: list[bytes] = connection.zrange(executions.key, 0, -1)  # type: ignore[assignment]
    names = [f"{job}:{as_text(name)}" for name in listed]
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
    """Remove what RQ still keeps about RQ workers that have ended; and the queue's name, if the queue is not used.

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


def workers_of_parent(connection: redis.Redis, run: str) -> dict[str, str]:
    """The RQ workers that the run's parent keeps, as far as RQ has not forgotten them: each by name, with its last
    heartbeat. Raises Unavailable."""
    return {seen.name: seen.beat for seen in rq_workers(connection) if is_kept_name(run, seen.name)}


def _living(connection: redis.Redis, listed: str) -> list[bytes]:
    """The members of a set of RQ workers under which RQ keeps one; all others are removed from it. Raises redis-py's
    errors."""
    keys: list[bytes] = sorted(connection.smembers(listed))  # type: ignore[arg-type]
    with connection.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.type(key)
        kinds: list[bytes] = pipe.execute()
    stale = {key for key, kind in zip(keys, kinds, strict=True) if kind != b"hash"}
    if stale:
        connection.srem(listed, *stale)
        connection.srem(REDIS_WORKER_KEYS, *stale)
    return [key for key in keys if key not in stale]


def _seen(
    robot: str,
    fields: Sequence[Any],
    is_queued: bool,
    is_taken: bool,
    lease: tuple[str, float] | None,
    now_s: int,
) -> JobSeen:
    *texts, pid = fields
    status, started_at, holder, worker, host = (None if field is None else as_text(field) for field in texts)
    if status in _OVER:
        return JobSeen(robot, "done")
    by = worker or ""
    if is_queued:
        return JobSeen(robot, "waiting" if started_at else "queued", by)
    if lease is None:
        return JobSeen(robot, "taken" if is_taken else "lost", by)
    name, until_s = lease
    left_s = until_s - now_s
    state: State = "running" if left_s > 0 else "lost"
    if parse_composite_key(name)[1] != holder:  # not claimed yet: the hash describes the execution before
        return JobSeen(robot, state, "", name, until_s, left_s)
    return JobSeen(robot, state, by, name, until_s, left_s, number_in(pid, 0), host or "")


def _put_back(connection: redis.Redis, job: str, lease: str) -> bool:
    try:
        return put_back(connection, job, lease)
    except TROUBLE as error:
        raise Unavailable(f"RQ: {error}") from error


def _forget_idle_queue(connection: redis.Redis) -> None:
    """The next job that is queued makes it known again; one that is queued at this moment makes this fail."""
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


POLL_S: Final = 0.25
"""Between two polls; with many robots a poll takes some time, and comes at most half as often."""

_MANY: Final = 800  # robots, for which a second would be enough


class JobTable:
    """`jobs` is the result of the last poll, `polled_s` when that was (`time.monotonic`). Kept, because RQ cannot be
    polled while the server is away."""

    def __init__(self, client: redis.Redis, run: str, robots: tuple[str, ...]) -> None:
        self._client = client
        self._run = run
        self.robots = robots
        self.jobs: dict[str, JobSeen] = {}
        self.polled_s = float("-inf")
        self._ran: dict[str, str] = {}  # RQ's name of an RQ worker → its robot

    def admit(self, robot: str) -> None:
        """Poll this robot's job as well, from now on."""
        if robot not in self.robots:
            self.robots = (*self.robots, robot)

    def is_due(self, now_s: float) -> bool:
        """Whether it is time for another poll."""
        return now_s - self.polled_s >= min(2 * POLL_S, max(POLL_S, len(self.robots) / _MANY))

    def poll(self, now_s: float) -> bool:
        """Poll now. False, and nothing has changed, while the server is away, or refuses writes."""
        with suppress(Unavailable):
            seen = poll_jobs(self._client, self._run, self.robots, could_renew=True)
            self.jobs = {job.robot: job for job in seen}
            self._ran = {job.worker: job.robot for job in seen if job.lease and job.worker}
            self.polled_s = now_s
            return True
        return False

    def robot_of(self, worker: str) -> str:
        """Which robot an RQ worker runs, or ran when it died; empty when none is known."""
        return self._ran.get(worker, "")

    def worker_of(self, robot: str) -> str:
        """RQ's name of the RQ worker that holds the robot's job; empty when none does."""
        job = self.jobs.get(robot)
        return job.worker if job is not None and job.lease else ""
