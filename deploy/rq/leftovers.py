"""What RQ keeps of robots and of RQ workers for them, whatever run they are of: for what a run has left behind. Which
run is over is decided elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import redis
import rq
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY

from broker.streams.retry import retry_blocking
from deploy.rq.job import names_in
from deploy.rq.leases import QUEUE, queue_of_robots
from deploy.rq.queue import withdraw_workers
from deploy.rq.text import as_text, parse_composite_key

_KINDS: Final = ("job", "executions", "results")  # keys that bear a job's id; all others run out by themselves
_EXPIRY_S: Final = 600  # of a worker's entry that has none: its heartbeat sets another, if it lives
_PAGE: Final = 1000


def robots_by_run(connection: redis.Redis) -> dict[str, set[str]]:
    """The robots of which RQ keeps anything, by their runs. Raises Unavailable."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for job in retry_blocking("RQ", lambda: set(_jobs(connection))):
        with suppress(ValueError):  # it is no robot's
            run, robot = names_in(job)
            found[run].add(robot)
    return dict(found)


def forget_dead_workers(connection: redis.Redis) -> list[str]:
    """Remove the names of RQ workers of which RQ keeps nothing else, and give them. Raises Unavailable."""
    return retry_blocking("RQ", lambda: _forget_dead(connection))


def _jobs(connection: redis.Redis) -> Iterator[str]:
    """Every id of a job that stands anywhere."""
    for kind in _KINDS:
        prefix = f"rq:{kind}:"
        for key in connection.scan_iter(f"{prefix}robot-*", count=_PAGE):
            yield as_text(key).removeprefix(prefix).partition(":")[0]
    queue = queue_of_robots(connection)
    for listed in (queue.key, queue.intermediate_queue_key):
        yield from map(as_text, connection.lrange(listed, 0, -1))
    for lease in map(as_text, connection.zrange(queue.started_job_registry.key, 0, -1)):  # type: ignore[arg-type]
        yield parse_composite_key(lease)[0] or lease
    for registry in (queue.failed_job_registry, queue.finished_job_registry, queue.canceled_job_registry):
        yield from map(as_text, connection.zrange(registry.key, 0, -1))  # type: ignore[arg-type]


def _forget_dead(connection: redis.Redis) -> list[str]:
    listed: set[Any] = {
        *connection.smembers(REDIS_WORKER_KEYS),
        *connection.smembers(WORKERS_BY_QUEUE_KEY % QUEUE),
    }
    ours = sorted(name for name in listed if _is_of_robots(connection, name))
    dead = [name for name in ours if not connection.exists(name)]
    for name in set(ours) - set(dead):
        connection.expire(name, _EXPIRY_S, nx=True)
    names = [as_text(name).removeprefix(rq.Worker.redis_worker_namespace_prefix) for name in dead]
    withdraw_workers(connection, names)
    return names


def _is_of_robots(connection: redis.Redis, name: bytes) -> bool:
    """Whether an RQ worker takes robots' jobs, as far as RQ knows; one that is dead may have taken any."""
    if connection.sismember(WORKERS_BY_QUEUE_KEY % QUEUE, as_text(name)):
        return True
    return not connection.exists(name)
