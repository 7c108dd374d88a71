"""What an RQ worker takes from its queue: robots' jobs, and nothing else.

Anybody may write to the server, so anything may stand in the queue. An entry that is no robot's job is refused: one
line of the log shows it with the reason, and it moves to RQ's failed job registry. What RQ cannot keep as a job (bytes
that are no id, an id without a job) is kept there as a job that shows the entry. No entry is executed, and none ends an
RQ worker. The id of a robot that runs is dropped with a line of the log: its job belongs to the RQ worker that runs it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Final

import redis
import rq
from redis.exceptions import ResponseError
from rq.exceptions import DequeueTimeout, NoSuchJobError
from rq.job import Job, JobStatus, validate_job_id
from rq.results import Result

from broker.streams.retry import OUTAGE
from deploy.rq.job import FAILURE_KEPT_S, RefusedJob, RobotJob
from deploy.rq.leases import drop_if_held
from deploy.rq.text import as_text
from telemetry.console import printable

_LOG: Final = logging.getLogger("rq.worker")


class NoAnswer(Exception):
    """The server does not answer. None of redis-py's errors: RQ would report and wait by itself for those."""


class RobotQueue(rq.Queue):
    """A queue from which an RQ worker takes robots' jobs."""

    @classmethod
    def dequeue_any(
        cls, queues: Iterable[rq.Queue], timeout: int | None, connection: redis.Redis, *_classes: Any, **_named: Any
    ) -> tuple[Job, rq.Queue] | None:
        """The next robot's job; None when `timeout` is None and the queues are empty.

        Raises DequeueTimeout when none came in `timeout` seconds, or an entry was refused or dropped: RQ waits again
        then, and reports between two waits that its RQ worker lives. Raises NoAnswer, and redis-py's other errors.
        """
        try:
            return cls._dequeue(list(queues), timeout, connection)
        except OUTAGE as error:
            raise NoAnswer(str(error)) from None

    @classmethod
    def _dequeue(
        cls, queues: list[rq.Queue], timeout: int | None, connection: redis.Redis
    ) -> tuple[Job, rq.Queue] | None:
        by_key = {queue.key: queue for queue in queues}
        keys = list(by_key)
        found = cls.lmove(connection, keys[0], timeout) if len(keys) == 1 else cls.lpop(keys, timeout, connection)
        if found is None:
            return None
        queue, entry = by_key[as_text(found[0])], found[1]
        job = _job_of(queue, entry)
        try:
            if job is None:
                raise RefusedJob("it is the id of no job")
            job.check()
        except RefusedJob as refusal:
            _refuse(queue, entry, job or _stand_in(queue, entry), str(refusal))
            raise DequeueTimeout(timeout, queue.key) from None
        if drop_if_held(job, queue):
            _LOG.warning("%s in the queue %s is dropped: the robot runs already", _shown(entry), queue.name)
            raise DequeueTimeout(timeout, queue.key)
        return job, queue

    def move_dependents_to_ready(self, *_job: Any, **_named: Any) -> dict[str, list[str]]:
        """Never any: no job waits for a robot's."""
        return {}


def _job_of(queue: rq.Queue, entry: bytes) -> RobotJob | None:
    """The job of which `entry` is the id, if there is one."""
    name = as_text(entry)
    try:
        validate_job_id(name)
        job = RobotJob.fetch(name, connection=queue.connection, serializer=queue.serializer)
    except (ValueError, NoSuchJobError):
        return None
    except ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):
            raise
        return None
    assert isinstance(job, RobotJob)
    job.origin = queue.name  # where its leases are; what the job itself names is not read
    return job


def _stand_in(queue: rq.Queue, entry: bytes) -> Job:
    """A job that shows the entry to people. Its id cannot be a robot's, and is the same for the same entry."""
    return RobotJob.create(
        "refused",
        id=f"refused-{sha256(entry).hexdigest()[:16]}",
        description=_shown(entry),
        origin=queue.name,
        connection=queue.connection,
        serializer=queue.serializer,
    )


def _refuse(queue: rq.Queue, entry: bytes, job: Job, reason: str) -> None:
    """Move the entry from the queue to the failed job registry, in one transaction."""
    _LOG.error("%s in the queue %s is refused: %s", _shown(entry), queue.name, reason)
    with queue.connection.pipeline() as pipe:
        pipe.lrem(queue.intermediate_queue_key, 0, entry)  # type: ignore[arg-type]  # bytes will do
        job.set_status(JobStatus.FAILED, pipeline=pipe)
        job.failed_job_registry.add(job, ttl=FAILURE_KEPT_S, exc_string=reason, pipeline=pipe)
        Result.create_failure(job, FAILURE_KEPT_S, exc_string=reason, pipeline=pipe)
        pipe.execute()


def _shown(entry: bytes) -> str:
    return f'"{printable(as_text(entry))}"'
