"""RQ as the lab's parent uses it from outside: robots are queued, looked for, and withdrawn.

No robot and no RQ worker runs in here (deploy/rq_worker.py), and none of the keys is ours: their names are RQ's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import redis
import rq
from redis.exceptions import WatchError
from rq.executions import WORKER_EXECUTIONS_KEY_TEMPLATE, ExecutionRegistry
from rq.job import Job
from rq.results import Result
from rq.serializers import JSONSerializer
from rq.utils import as_text, parse_composite_key
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY

from broker.ports import Unavailable
from broker.streams.patience import OUTAGE
from deploy.robot_job import LIVES
from deploy.rq_worker import QUEUE, ROBOT_JOB, RobotJob

FAILURE_KEPT_S: Final = 300


def enqueue_robot(connection: redis.Redis, run: str, robot: str) -> Job:
    """Queue a robot's job. Its arguments are names: no secret, no address travels in them.

    Raises ValueError when the names do not make a job id (letters, digits, `-` and `_`).
    """
    return _queue(connection).enqueue_call(
        ROBOT_JOB,
        args=(run, robot),
        timeout=-1,
        result_ttl=0,
        failure_ttl=FAILURE_KEPT_S,
        retry=rq.Retry(max=LIVES),
        job_id=_job_id(run, robot),
        description=f"{robot} of {run}",
    )


def withdraw_robot(connection: redis.Redis, run: str, robot: str) -> None:
    """Remove a robot's job with all that RQ keeps about it, wherever it stands: queued, just taken, run or failed.

    For when no RQ worker runs it any more. Twice does no harm. Raises redis-py's errors.
    """
    job, queue = _job_id(run, robot), _queue(connection)
    executions = ExecutionRegistry(job, connection)
    names = [f"{job}:{name}" for name in executions.get_execution_ids()]
    held: list[bytes] = connection.zrange(queue.started_job_registry.key, 0, -1)  # type: ignore[assignment]
    leases = [lease.decode() for lease in held if lease.startswith(f"{job}:".encode())]
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


def robots_of(connection: redis.Redis, names: Sequence[str]) -> dict[str, str]:
    """The robots that the RQ workers of these names run, or ran when they were killed. One that runs none, or gave its
    robot back before it ended, is not in it. Raises Unavailable."""
    try:
        with connection.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.smembers(WORKER_EXECUTIONS_KEY_TEMPLATE.format(name))
            replies = pipe.execute()
    except OUTAGE as error:
        raise Unavailable(f"RQ: {error}") from error
    return {name: _robot_in(execution) for name, found in zip(names, replies, strict=True) for execution in found}


def _job_id(run: str, robot: str) -> str:
    return f"robot-{run}-{robot}"


def _robot_in(execution: bytes) -> str:
    job, _ = parse_composite_key(as_text(execution))
    return job.rpartition("-")[2]


def _queue(connection: redis.Redis) -> rq.Queue:
    return rq.Queue(QUEUE, connection=connection, job_class=RobotJob, serializer=JSONSerializer)


def _forget_idle_queue(connection: redis.Redis) -> None:
    """Whoever queues something later makes it known anew; whoever does so just now is left alone."""
    queue = _queue(connection)
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
