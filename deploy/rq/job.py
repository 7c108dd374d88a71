"""The one function that an RQ job may name: a robot's life on an event loop, and what each of its ends means to RQ.

Leases, retries and signals are in deploy/rq/worker.py; what a life does, in robots/robot.py.

    the order `stop`                 the function returns: the job is done
    the journal is lost              likewise: no later life could be born without it
    it died too often (BudgetSpent)  likewise: the restart policy has given it up
    the run is gone                  likewise
    its terms cannot be read         likewise, with a line on stderr: another version dealt the run
    SIGTERM to this process          the life is recalled, and the function returns a `Retry`: the robot waits in the
                                     queue for another RQ worker
    a later life exists (Fenced)     exit 75: the RQ worker ends, and nothing is queued
    anything else                    the exception goes up: a death is recorded, and the job is queued again

RQ imports any dotted name that a job holds, for the function and for its callbacks. A `RobotJob` can name this one
function, and nothing is imported by a name from the network.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from random import Random
from typing import Any, ClassVar, Final

import redis.asyncio
import uvloop
from rq import Retry, get_current_job
from rq.exceptions import DeserializationError
from rq.job import Job, JobStatus
from rq.utils import str_to_date

from broker.errors import Fenced, JournalLost, RunGone
from broker.streams.connection import DataClient, async_twin
from broker.streams.keys import Keys
from broker.streams.retry import retry
from broker.streams.robot.ports import ports_for
from broker.streams.run.runs import StreamOrders
from deploy.instrumentation import Instruments, instrumented_async
from deploy.processes.forking import name_process, release_signals
from deploy.rq.heartbeat import keep_beating
from robots.channel import Watch
from robots.exhibits.catalogue import components_of
from robots.restart_budget import FENCED, BudgetSpent
from robots.robot import READ_US, Outside
from robots.robot import live as live_robot
from robots.run.deal import Terms, decode_terms
from telemetry.clock import SystemClock
from telemetry.console import printable
from telemetry.events import RECALLED

CONNECTIONS: Final = 5
"""How many ports wait for the server at the same time: inbox, outbox, journal, orders, events."""

ALWAYS: Final = 1_000_000
"""How often RQ queues a robot again: always. The restart policy decides when to give up, not a counter."""

FAILURE_KEPT_S: Final = 300
"""How long RQ keeps a job that failed."""

RECALL_S: Final = 0.7
"""How long a recalled life may take to end in order: longer than its own limit (robots/robot.py), and shorter than its
RQ worker's (GRACE_S in deploy/rq/worker.py)."""

_PREFIX: Final = "robot-"
_ID: Final = re.compile(rf"{_PREFIX}([A-Za-z0-9_-]+)-([A-Za-z0-9_]+)")
_CANCEL_AGAIN_S: Final = 0.05


class Recalled(Exception):
    """This process got SIGTERM; the robot is to live elsewhere."""


class ForeignTerms(Exception):
    """The run's terms cannot be read: another version dealt it. The message is one line."""


def job_id(run: str, robot: str) -> str:
    """RQ's name of a robot's job."""
    return f"{_PREFIX}{run}-{robot}"


def names_in(job: str) -> tuple[str, str]:
    """The run and the robot in the id of a robot's job. Raises ValueError when it is none."""
    found = _ID.fullmatch(job)
    if found is None:
        raise ValueError(f"{job!r} is no robot's job")
    return found[1], found[2]


def nonce_of(execution: str) -> str:
    """The nonce of the life that an execution (RQ's id of it, hexadecimal) is: its RQ worker knows it as well."""
    return execution[:16]


def live(run: str, robot: str) -> Retry | None:
    """One life of `robot`. See above for what it returns and raises."""
    job = get_current_job()
    assert isinstance(job, RobotJob), "only an RQ worker of ours calls this"
    name_process(f"robot:{robot}")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_end(run, robot, job.data_client or job.connection, job.nonce))
    except Recalled:
        return Retry(max=ALWAYS)
    except (JournalLost, RunGone, BudgetSpent):
        return None
    except ForeignTerms as foreign:
        print(f"{robot} of run {run}: {foreign}", file=sys.stderr)
        return None
    except Fenced:
        os._exit(FENCED)
    return None


async def _until_end(run: str, robot: str, data: DataClient, nonce: str) -> str:
    """A life with a heartbeat. SIGTERM recalls it (Recalled). Its last events are stored, whatever ends it."""
    loop = asyncio.get_running_loop()
    keep_beating(loop)
    recalled = Watch(False)
    loop.add_signal_handler(signal.SIGTERM, recalled.set, True)
    release_signals()
    client = async_twin(data)
    await _connect(client)
    try:
        async with instrumented_async(client, run, robot) as instruments:
            return await _live_until_recalled(_be_robot(run, robot, nonce, client, instruments, recalled), recalled)
    finally:
        await client.aclose()


async def _live_until_recalled(life_of_robot: Coroutine[Any, Any, str], recalled: Watch[bool]) -> str:
    """What the life returns or raises; Recalled when it ended because of that, or did not end in time."""
    loop = asyncio.get_running_loop()
    life = loop.create_task(life_of_robot)
    waiting = loop.create_task(recalled.until(bool))
    try:
        await asyncio.wait([life, waiting], return_when=asyncio.FIRST_COMPLETED)
        if not life.done():
            await asyncio.wait([life], timeout=RECALL_S)
        if not life.done() or life.result() == RECALLED:
            raise Recalled
        return life.result()
    finally:
        await _end(life)
        await _end(waiting)


async def _connect(client: redis.asyncio.Redis) -> None:
    """Open the connections that a life uses at once, before it is born: at `go` all robots would do so together."""
    with suppress(redis.RedisError):
        await asyncio.gather(*(client.ping() for _ in range(CONNECTIONS)))


async def _be_robot(
    run: str, robot: str, nonce: str, client: redis.asyncio.Redis, instruments: Instruments, recalled: Watch[bool]
) -> str:
    """One life with ports, clock and chance of its own."""
    terms = await _terms(client, Keys(run).orders)
    instruments.identify(terms.seed)
    outside = Outside(
        ports=ports_for(client, run, robot, nonce, terms.shards),
        clock=SystemClock(),
        chance=Random(nonce),  # noqa: S311 - for spreading, not for hiding
        nonce=nonce,
        sink=instruments.sink,
        recalled=recalled,
        has_server_forgotten=instruments.has_server_forgotten,
    )
    return await live_robot(run, robot, outside, components_of(terms.exhibit))


async def _terms(client: redis.asyncio.Redis, key: str) -> Terms:
    """The terms that the run was dealt with; its exhibit is known here. Raises RunGone, ForeignTerms, Unavailable.

    The restart policy comes later, so an error that the next life would get again is retried here."""
    orders = StreamOrders(client, key)
    while await retry("orders", lambda: client.type(key)) == b"stream":
        dealt = await orders.read(READ_US)
        if dealt:
            try:
                terms = decode_terms(dealt[0].content)
                components_of(terms.exhibit)
                return terms
            except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
                raise ForeignTerms(f"the run was dealt by another version: {error}") from None
    raise RunGone(key)


async def _end(task: asyncio.Task[Any]) -> None:
    """Cancel a task for certain: before Python 3.12, `asyncio.wait_for` (redis-py sends through it) may swallow it."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_CANCEL_AGAIN_S)


ROBOT_JOB: Final = "deploy.rq.job.live"


class RefusedJob(Exception):
    """The job is no robot's. Nothing was imported, nothing was run. The message says why, in one line."""


_READ: Final[Mapping[bytes, Callable[[bytes], object]]] = {
    b"data": bytes,
    **dict.fromkeys((b"origin", b"description", b"worker_name"), bytes.decode),
    **dict.fromkeys((b"created_at", b"enqueued_at", b"started_at", b"ended_at", b"last_heartbeat"), str_to_date),
    b"number_of_retries": int,
    b"retry_intervals": json.loads,
    b"status": lambda stored: JobStatus(stored.decode()),
}


class RobotJob(Job):
    """A job that comes from the network: of all that RQ would import or call by name, only the robot is left."""

    allowed: ClassVar[dict[str, Callable[..., Any]]] = {ROBOT_JOB: live}
    nonce = ""
    """Of the life that runs the job, in its own process."""
    data_client: DataClient | None = None
    """Of the streams, in that process."""

    def restore(self, raw_data: Mapping[bytes, bytes]) -> None:
        """Take over what is stored, as far as it can be read: anybody may write there. How RQ is to treat the job is
        the same for every robot, and not read. Raises NoSuchJobError when there is no job's data."""
        super().restore({name: stored for name, stored in raw_data.items() if _is_readable(name, stored)})
        self.timeout, self.result_ttl, self.failure_ttl, self.retries_left = -1, 0, FAILURE_KEPT_S, ALWAYS

    def check(self) -> None:
        """Raises RefusedJob unless the job is, to the letter, what is queued for the robot that its id names."""
        try:
            called = (self.func_name, self.instance, self.args, self.kwargs)
            run, robot = names_in(self.id)
        except DeserializationError:
            raise RefusedJob("its data cannot be read") from None
        except ValueError as error:
            raise RefusedJob(str(error)) from None
        if called != (ROBOT_JOB, None, [run, robot], {}):
            raise RefusedJob(f"it calls {printable(repr(called))}")

    def _fetch_status(self) -> JobStatus:
        """What is no status counts as `started`: the job is not over."""
        try:
            return super()._fetch_status()
        except ValueError:
            return JobStatus.STARTED

    @property
    def func(self) -> Callable[..., Any]:
        """The allowed function of that name. Raises RefusedJob."""
        if self.instance is None and self.func_name in self.allowed:
            return self.allowed[self.func_name]
        raise RefusedJob(f"{self.func_name!r} is no robot's job")

    @property
    def success_callback(self) -> None:
        """Never any."""

    @property
    def failure_callback(self) -> None:
        """Never any."""

    @property
    def stopped_callback(self) -> None:
        """Never any."""

    def send_webhooks(self, *_status: Any, **_details: Any) -> None:
        """Never any: a job must not choose whom we call."""


def _is_readable(name: bytes, stored: bytes) -> bool:
    try:
        _READ[name](stored)
    except (LookupError, ValueError, RecursionError, OverflowError):
        return False
    return True
