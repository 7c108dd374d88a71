"""Leases of robots' jobs: one RQ worker at most runs a job, and its id stands in the queue once at most.

RQ's leases are members `job:execution` of a sorted set, scored with the time until which they are good; RQ takes that
time from its host's clock, and moves ids between lists without a check. Here the time is the server's, because hosts'
clocks may differ by more than a lease; and here are the moves with a check: to claim a job that was taken, to put it
back, and to drop its id when it was taken although it runs. All are transactions that watch the job's own hash, and the
first two change it, so of two at the same time one fails. All keys are RQ's; of the
fields of a job's hash three are ours: `holder` is the execution that may run it, `pid` and `host` say where its process
is, for people. These, and RQ's `worker_name`, describe that execution and no other: between a new lease and its claim,
they describe the one before.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Any, Final

import redis
import rq
from redis.exceptions import WatchError
from rq.executions import WORKER_EXECUTIONS_KEY_TEMPLATE, Execution, ExecutionRegistry
from rq.job import Job, JobStatus
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer

from deploy.rq.text import as_text, parse_composite_key

QUEUE: Final = "robots"
HOLDER: Final = "holder"
WORKER: Final = "worker_name"  # RQ's own: it writes the same, after the claim
HOST: Final = "host"
PID: Final = "pid"
_DATA: Final = "data"  # RQ's own: every job has it


class LeaseRegistry(StartedJobRegistry):
    """RQ's leases, timed by the server's clock."""

    def add_execution(
        self, execution: Execution, pipeline: redis.client.Pipeline, ttl: int = 0, xx: bool = False
    ) -> int:
        """With the pipeline, take the lease for `ttl` seconds from now; `xx`: renew it. Raises redis-py's errors."""
        seconds, _ = self.connection.time()
        leases: dict[Any, Any] = {execution.composite_key: int(seconds) + ttl}
        pipeline.zadd(self.key, leases, xx=xx)
        return 0  # as RQ's own, which returns what the pipeline will tell


def queue_of_robots(connection: redis.Redis, job_class: type[Job] = Job) -> rq.Queue:
    """The one queue in which all robots of all runs wait."""
    return rq.Queue(QUEUE, connection=connection, job_class=job_class, serializer=JSONSerializer)


def holds_lease(job: Job, execution: Execution) -> bool:
    """Whether the execution's lease still stands. It may have run out."""
    return job.connection.zscore(job.started_job_registry.key, execution.composite_key) is not None


def leases_of(connection: redis.Redis, job: str) -> list[str]:
    """The leases on a job, run out or not: one, unless something went wrong."""
    held: list[bytes] = connection.zrange(_leases(queue_of_robots(connection)), 0, -1)  # type: ignore[assignment]
    return [lease for lease in map(as_text, held) if parse_composite_key(lease)[0] == job]


def claim(job: Job, execution: Execution) -> bool:
    """Become the one execution that may run the job; False when another one is, and its lease has not run out, or when
    the job was withdrawn: a hash that is made now would stay for ever."""
    with job.connection.pipeline() as pipe:
        while True:
            pipe.watch(job.key)  # type: ignore[no-untyped-call]
            holder = _holder(pipe, job)
            if not pipe.hexists(job.key, _DATA) or (holder is not None and holder != execution.id):
                return False
            pipe.multi()
            pipe.hset(job.key, mapping=_description(execution))
            try:
                pipe.execute()
            except WatchError:
                continue
            return True


def drop_if_held(job: Job, queue: rq.Queue) -> bool:
    """Forget that the job was taken from the queue, if an execution may run it whose lease has not run out: its id
    stood there once too often. False, and nothing has changed: none may. Raises redis-py's errors.

    No robot is lost: who holds the lease puts the job back, or else the supervisor does when the lease has run out.
    """
    with job.connection.pipeline() as pipe:
        while True:
            pipe.watch(job.key)  # type: ignore[no-untyped-call]
            if _holder(pipe, job) is None:
                return False
            pipe.multi()
            pipe.lrem(queue.intermediate_queue_key, 0, job.id)
            try:
                pipe.execute()
            except WatchError:  # the lease may just have been given back
                continue
            return True


def _holder(pipe: redis.client.Pipeline, job: Job) -> str | None:
    """The execution that may run the job; None when there is none, or its lease has run out."""
    holder = pipe.hget(job.key, HOLDER)
    if holder is None:
        return None
    lease = pipe.zscore(job.started_job_registry.key, f"{job.id}:{as_text(holder)}")
    return as_text(holder) if lease is not None and lease > pipe.time()[0] else None


def _description(execution: Execution) -> dict[Any, Any]:
    return {
        HOLDER: execution.id,
        WORKER: execution.worker_name,
        HOST: socket.gethostname(),
        PID: os.getpid(),
    }


def leases_under(connection: redis.Redis, worker: str) -> list[tuple[str, str]]:
    """The leases that an RQ worker has taken, by RQ's name of it, each with its job; run out or not. RQ lists a lease
    there in the transaction that takes it, so it is never another RQ worker's. Raises redis-py's errors."""
    found: set[bytes] = connection.smembers(WORKER_EXECUTIONS_KEY_TEMPLATE.format(worker))  # type: ignore[assignment]
    return [(parse_composite_key(lease)[0], lease) for lease in sorted(map(as_text, found))]


def put_back(connection: redis.Redis, job: str, lease: str = "") -> bool:
    """Queue the job again, in front of all others, and forget `lease`, under which it was run (empty: it was taken, and
    never leased). In front, because the successor of its RQ worker is to run it, not a robot that waits for a free one.

    False, and nothing has changed: it was put back already, has another lease, or is done.
    Raises redis-py's errors; the move may have been made then, and may be tried again.
    """
    queue = queue_of_robots(connection)
    key = Job.key_for(job)
    with connection.pipeline() as pipe:
        while True:
            pipe.watch(key, queue.key)  # type: ignore[no-untyped-call]
            if not pipe.hexists(key, _DATA) or not _is_movable(pipe, queue, job, lease):
                return False
            worker = as_text(pipe.hget(f"rq:execution:{lease}", WORKER) or b"")
            pipe.multi()
            if lease:
                _forget_lease(pipe, queue, lease, worker)
            pipe.lrem(queue.intermediate_queue_key, 0, job)
            pipe.lrem(queue.key, 0, job)
            pipe.lpush(queue.key, job)
            pipe.sadd(rq.Queue.redis_queues_keys, queue.key)
            pipe.hset(key, "status", JobStatus.QUEUED)
            try:
                pipe.execute()
            except WatchError:
                continue
            return True


def forget_withdrawn(job: Job) -> None:
    """Remove what RQ has written about a job that was withdrawn meanwhile. Raises redis-py's errors."""
    with job.connection.pipeline() as pipe:
        pipe.watch(job.key)  # type: ignore[no-untyped-call]
        if pipe.hexists(job.key, _DATA):
            return
        pipe.multi()
        pipe.delete(job.key, ExecutionRegistry(job.id, job.connection).key)
        with suppress(WatchError):  # it is queued again just now
            pipe.execute()


def move_in_queue(connection: redis.Redis, job: str, *, to_front: bool) -> bool:
    """Move a job that stands in the queue to its front or its end. False: it does not stand there. Raises redis-py's
    errors."""
    key = queue_of_robots(connection).key
    with connection.pipeline() as pipe:
        while True:
            pipe.watch(key)  # type: ignore[no-untyped-call]
            if pipe.lpos(key, job) is None:
                return False
            pipe.multi()
            pipe.lrem(key, 0, job)
            (pipe.lpush if to_front else pipe.rpush)(key, job)
            try:
                pipe.execute()
            except WatchError:
                continue
            return True


def _is_movable(pipe: redis.client.Pipeline, queue: rq.Queue, job: str, lease: str) -> bool:
    if lease:
        return pipe.zscore(_leases(queue), lease) is not None
    if pipe.lpos(queue.key, job) is not None:
        return False
    return not leases_of(pipe, job)


def _forget_lease(pipe: redis.client.Pipeline, queue: rq.Queue, lease: str, worker: str) -> None:
    job, execution = parse_composite_key(lease)
    pipe.zrem(_leases(queue), lease)
    pipe.zrem(ExecutionRegistry(job, queue.connection).key, execution)
    pipe.delete(f"rq:execution:{lease}")
    pipe.srem(WORKER_EXECUTIONS_KEY_TEMPLATE.format(worker), lease)


def _leases(queue: rq.Queue) -> str:
    return str(queue.started_job_registry.key)


LEASE_S: Final = 3  # RQ rounds down to whole seconds, so a lease is 2 to 3 s
HEARTBEAT_S: Final = 1
WORKER_TTL_S: Final = 16  # RQ waits for a job 15 s less than this, and tells between two waits that it lives
