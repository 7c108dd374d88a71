"""The RQ worker that runs robots, started by a fleet of ours, or by `rq worker -w deploy.rq.worker.RobotWorker robots`.

RQ keeps the queue, forks a horse for each job, and retries a job whose horse died. A job that never ends needs these
rules beside it:

    one function     a job can name nothing but the robot's; nothing is ever imported by a name from the network, and
                     what is no robot's job is refused before there is a horse (deploy/rq/dequeue.py)
    a short lease    3 s, renewed every second, and only while the horse's event loop beats
    no third life    an RQ worker that lost its lease, or is fenced, ends (exit 75) and queues nothing; to queue a job
                     again and to give its lease back is one move (deploy/rq/leases.py)
    deaths recorded  in the fleet log, before the job is queued again: the next life's restart policy reads them
    a heartbeat      of this process itself, for health checks: while it waits, and while its horse lives
    outages borne    a server in trouble ends no RQ worker; the supervisor finds jobs that were taken and lost meanwhile
    nothing behind   a horse dies with its RQ worker

No robot lives in this file.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any, Final, NoReturn

import redis.exceptions
import rq
from redis.backoff import NoBackoff
from redis.connection import PythonRespSerializer
from redis.retry import Retry as RedisRetry
from rq.exceptions import StopRequested
from rq.executions import Execution
from rq.job import Job
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer
from rq.utils import now, utcformat, utcparse

from broker.errors import Unavailable
from broker.parent_death import die_with_parent
from broker.ports.robot import DeathKind
from broker.streams.connection import DataClient, Server
from broker.streams.retry import TROUBLE, suppress_transient
from broker.streams.run.fleet_log import StreamFleetLog
from broker.streams.run.lives import incarnation_of, last_incarnation
from deploy.processes.forking import signals_held
from deploy.processes.liveness import beat
from deploy.rq.dequeue import RobotQueue
from deploy.rq.heartbeat import Heartbeat, done
from deploy.rq.job import RobotJob, names_in, nonce_of
from deploy.rq.leases import HEARTBEAT_S, LEASE_S, QUEUE, claim, holds_lease, move_in_queue, put_back
from deploy.rq.remote_commands import RemoteCommands
from robots.restart_budget import FENCED

_BUFFER_CUTOFF: Final = 6000  # bytes, redis-py's own: longer values are not copied
SILENCE_S: Final = 2  # of a horse, before it is killed: a heartbeat earlier than a supervisor would give it up
_WAIT_S: Final = 0.5  # for a job, before it is checked whether to end
GRACE_S: Final = 0.9  # for a horse after SIGTERM; the check after it is at most a heartbeat later
_RETRY_S: Final = 0.1  # between two tries with a server that is away


utcparse(utcformat(now()))  # once before all forks: Python imports and compiles what it reads dates with at first use


class RobotWorker(rq.Worker):
    """An RQ worker for queues of robots. Options that would break the rules above are overruled, not refused."""

    max_connection_wait_time = 1.0  # of an idle one whose server is away: it is back at work a second after it

    def __init__(
        self,
        queues: str | rq.Queue | Sequence[str | rq.Queue],
        name: str | None = None,
        connection: redis.Redis | None = None,
        **options: Any,
    ) -> None:
        listed = [queues] if isinstance(queues, str | rq.Queue) else list(queues)
        if connection is None:
            connection = next(queue.connection for queue in listed if isinstance(queue, rq.Queue))
        # A lost reply must not enqueue a robot twice; and a heartbeat must fail at once, not after ten pauses.
        connection.set_retry(RedisRetry(NoBackoff(), 0))
        _pack_in_python(connection)
        options.pop("default_worker_ttl", None)
        options |= {
            "job_class": RobotJob,
            "queue_class": RobotQueue,
            "serializer": JSONSerializer,
            "job_monitoring_interval": HEARTBEAT_S,
            "worker_ttl": 16,  # RQ waits for a job 15 s less than this, and tells between two waits that it lives
            "log_job_description": False,
        }
        self.data: DataClient = connection
        """Of the streams; one server has both planes unless `work` says otherwise."""
        names = [queue if isinstance(queue, str) else queue.name for queue in listed]
        super().__init__(names, name=name, connection=connection, **options)

    @property
    def was_asked_to_stop(self) -> bool:
        """Whether this RQ worker ends because it was told to."""
        return self._stop_requested

    # What RQ would do beside its work, and must not.

    @property
    def should_run_maintenance_tasks(self) -> bool:
        """Never: the supervisor handles lost robots; it knows more than a lease."""
        return False

    def subscribe(self) -> None:
        """No commands by publish and subscribe. They need a thread: a process that forks must have none (its locks stay
        locked in the horse), and it may delay the end by a second. And any client could stop a robot for good by them.
        Signals do what is needed."""

    # Signals.

    def _install_signal_handlers(self) -> None:
        signal.signal(signal.SIGTERM, self.request_stop)
        if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # ignored: a parent answers Ctrl-C for us
            signal.signal(signal.SIGINT, self.request_stop)

    def request_stop(self, _number: int, _frame: FrameType | None) -> None:
        """End soon. When idle: after the wait for a job, which is short (an interrupted wait might lose a job that has
        just come). Else: when the horse has ended its life in order; it gets SIGTERM."""
        if not self._stop_requested:
            self._stop_requested, self._stop_asked_s = True, time.monotonic()
        if self.horse_pid:
            self.kill_horse(signal.SIGTERM)

    # A server in trouble.

    def check_for_suspension(self, burst: bool) -> None:
        """Wait while a person has suspended RQ; a server that is away suspends nothing."""
        with contextlib.suppress(*TROUBLE):
            super().check_for_suspension(burst)

    def set_state(self, state: str, pipeline: redis.client.Pipeline | None = None) -> None:
        """The state is for people alone: an outage may lose it."""
        with contextlib.suppress(*TROUBLE):
            super().set_state(state, pipeline)

    def heartbeat(self, timeout: int | None = None, pipeline: redis.client.Pipeline | None = None) -> None:
        """For people alone, too (the robot's lease is another thing). Raises StopRequested when asked to end while the
        server is away."""
        try:
            super().heartbeat(timeout, pipeline)
        except TROUBLE:
            if self._stop_requested and not self.horse_pid:
                raise StopRequested from None

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, rq.Queue] | None:
        """Wait for a job, at most `max_idle_time` seconds. Raises StopRequested when asked to end."""
        if timeout is None:
            return super().dequeue_job_and_maintain_ttl(None)
        since = time.monotonic()
        while not self._stop_requested:
            beat()
            with suppress_transient():
                found = super().dequeue_job_and_maintain_ttl(timeout, _WAIT_S)  # type: ignore[arg-type]  # any number
                if found is not None or (max_idle_time is not None and time.monotonic() - since >= max_idle_time):
                    return found
                continue
            time.sleep(_RETRY_S)
        raise StopRequested

    def execute_job(self, job: Job, queue: rq.Queue) -> None:
        """Run the job, unless the server does not answer when the lease is taken. A lease that was stored all the same
        runs out; without one, the job stays where it was put when it was taken."""
        with suppress_transient():
            super().execute_job(job, queue)
            return
        self.executions.clear()
        self.log.error("Worker %s: no lease on %s; it is left to the supervisor", self.name, job.id)

    # The horse.

    def fork_work_horse(self, job: Job, queue: rq.Queue) -> None:
        """Fork. Signals wait until the horse leads its own group: before that, a signal to its group would be ours."""
        self._heartbeat = Heartbeat()
        self._horse_end: tuple[DeathKind, int] = ("exit", 1)
        self._signal_kind: DeathKind = "signal"
        self._is_death_recorded = False
        self._remote_commands = RemoteCommands(self.data, *names_in(job.id), self.kill_horse)
        with signals_held():
            super().fork_work_horse(job, queue)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.setpgid(self.horse_pid, self.horse_pid)
        self._heartbeat.take_read_end()
        if self._stop_requested:  # asked after the job was taken and before there was a horse to tell
            self.kill_horse(signal.SIGTERM)

    def setup_work_horse_signals(self) -> None:
        """The horse's first step. Signals stay blocked until the robot can end in order (deploy/rq/job.py)."""
        assert self.pid is not None
        die_with_parent(self.pid)
        self._heartbeat.take_write_end()
        super().setup_work_horse_signals()  # type: ignore[no-untyped-call]

    def perform_job(self, job: Job, queue: rq.Queue, execution: Execution) -> bool:
        """In the horse: run the job, unless it is run elsewhere."""
        if not claim(job, execution):
            os._exit(FENCED)
        assert isinstance(job, RobotJob)
        job.nonce, job.data_client = nonce_of(execution.id), self.data
        return super().perform_job(job, queue, execution)

    def monitor_work_horse(self, job: Job, queue: rq.Queue, execution: Execution) -> None:
        """Wait for the horse's end, and check it every second; then wait for the server, if that is away."""
        self._job, self._execution = job, execution
        try:
            with suppress_transient():
                super().monitor_work_horse(job, queue, execution)
                self._yield_if_asked(job)
                return
            self._queue_again_when_answered(job, queue, execution)
        finally:
            self._heartbeat.close()

    def _yield_if_asked(self, job: Job) -> None:
        """The horse has put the job in front of all others: if it is to give way, it goes behind them."""
        if self._remote_commands is not None and self._remote_commands.is_to_yield:
            move_in_queue(job.connection, job.id, to_front=False)

    def _queue_again_when_answered(self, job: Job, queue: rq.Queue, execution: Execution) -> None:
        """The horse is dead and the server was away: do what RQ would have done, as soon as it can be done.

        Without the lease there is nothing to do: the job was queued already, by a request whose reply was lost, or
        lives elsewhere. Raises StopRequested when asked to end first.
        """
        while not self._stop_requested:
            beat()
            time.sleep(_RETRY_S)
            with suppress_transient():
                if holds_lease(job, execution):
                    self.handle_job_failure(job, queue, exc_string="The horse died in an outage", execution=execution)
                return
        raise StopRequested

    def wait_for_horse(self) -> tuple[int | None, int | None, Any]:
        """Wait for the horse; does not return when it was fenced.

        RQ interrupts this by an alarm, which may come after the kernel has handed out the status; so the status is read
        before it is taken.
        """
        with contextlib.suppress(ChildProcessError):
            ended = os.waitid(os.P_PID, self.horse_pid, os.WEXITED | os.WNOWAIT)
            assert ended is not None, "only WNOHANG gives None"
            exited = ended.si_code == os.CLD_EXITED
            self._horse_end = ("exit", ended.si_status) if exited else (self._signal_kind, -ended.si_status)
            if self._horse_end == ("exit", FENCED):
                self._end_fenced()
        return super().wait_for_horse()

    # The lease.

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:  # noqa: ARG002
        """Seconds that a lease is good for without being renewed."""
        return LEASE_S

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        """Renew the lease of a horse that beats. Kill one that fell silent, or does not end after SIGTERM. End if the
        lease is another's. Remote commands are executed first: one may resume the horse."""
        beat()
        self._remote_commands.execute()
        if self._stop_requested and time.monotonic() - self._stop_asked_s > GRACE_S:
            self.kill_horse()
            return
        if not self._heartbeat.read():
            if self._heartbeat.silence_s() > SILENCE_S:
                self.log.error("Worker %s: the robot's loop has stopped; its horse is killed", self.name)
                self._signal_kind = "silent"
                self.kill_horse()
            return
        with contextlib.suppress(*TROUBLE):  # a server that restarts keeps our lease; we are still here when it is back
            super().maintain_heartbeats(job, execution)
            if holds_lease(job, execution):
                return
            if not self._heartbeat.is_done():
                self.kill_horse()
                self._end_fenced()
            job.connection.delete(execution.key)  # the horse gave the lease back, and RQ has just made this anew

    def handle_job_failure(
        self,
        job: Job,
        queue: rq.Queue,  # noqa: ARG002
        started_job_registry: StartedJobRegistry | None = None,  # noqa: ARG002
        exc_string: str = "",  # noqa: ARG002
        execution: Execution | None = None,
    ) -> None:
        """In the horse and in its RQ worker: record the death, and put the job back, if it is still ours.

        Raises ConnectionError when the server did not answer.
        """
        assert execution is not None, "only RQ's maintenance knows none"
        if self._was_given_back(job, execution):
            return
        self._demand_lease(job, execution)
        self._record_death(job)
        self._put_back(job, execution)

    def handle_job_success(
        self, job: Job, queue: rq.Queue, started_job_registry: StartedJobRegistry, execution: Execution
    ) -> None:
        """In the horse: the job is done, if it is still ours to end."""
        self._demand_lease(job, execution)
        _mend_executions(job, execution)
        super().handle_job_success(job, queue, started_job_registry, execution)

    def handle_job_retry(
        self,
        job: Job,
        queue: rq.Queue,  # noqa: ARG002
        retry: rq.Retry,  # noqa: ARG002
        started_job_registry: StartedJobRegistry,  # noqa: ARG002
        execution: Execution,
    ) -> None:
        """In the horse: the robot ended in order and is to live elsewhere, if it does not already."""
        self._demand_lease(job, execution)
        self._put_back(job, execution)

    def _demand_lease(self, job: Job, execution: Execution) -> None:
        if holds_lease(job, execution):
            done()  # in the horse: the lease is given back now, which must not look like a loss
        else:
            self._end_fenced_out()

    def _put_back(self, job: Job, execution: Execution) -> None:
        if not put_back(job.connection, job.id, execution.composite_key):
            self._end_fenced_out()

    def _end_fenced_out(self) -> NoReturn:
        if self.is_horse:
            os._exit(FENCED)
        self._end_fenced()

    def _record_death(self, job: Job) -> None:
        """Put the horse's death into the fleet log, once. A horse that ended after SIGTERM without a SIGKILL did not
        die. Raises ConnectionError."""
        if self._is_death_recorded or (self._stop_requested and self._horse_end[1] != -signal.SIGKILL):
            return
        run, robot = names_in(job.id)
        how, status = self._horse_end
        try:
            incarnation = last_incarnation(self.data, run, robot, retry_s=0)
            StreamFleetLog(self.data, run, retry_s=0).death(robot, robot, incarnation, how, status)
        except Unavailable as error:
            raise redis.exceptions.ConnectionError(str(error)) from error
        self._is_death_recorded = True

    def _was_given_back(self, job: Job, execution: Execution) -> bool:
        """Whether the horse itself gave the lease back: then its end is recorded already."""
        return not self.is_horse and self._heartbeat.is_done() and not holds_lease(job, execution)

    def _end_fenced(self) -> NoReturn:
        """End this RQ worker, whose horse is dead. Its execution is removed, and the job is not queued: the robot lives
        elsewhere, and an execution left behind would count as a lost robot when its lease runs out. If the horse was a
        life, its death is recorded: nothing else explains why its last events are missing."""
        with contextlib.suppress(redis.exceptions.RedisError):
            with self.connection.pipeline() as pipeline:
                self._execution.delete(self._job, pipeline)
                pipeline.execute()
            self.register_death()  # type: ignore[no-untyped-call]
        with contextlib.suppress(Unavailable):
            self._record_fenced_life()
        os._exit(FENCED)

    def _record_fenced_life(self) -> None:
        """Raises Unavailable. The life is found by its execution, because the last one in the journal is the later."""
        run, robot = names_in(self._job.id)
        life = incarnation_of(self.data, run, robot, nonce_of(self._execution.id))
        if life:
            StreamFleetLog(self.data, run, retry_s=0).death(robot, robot, life, "exit", FENCED)


def _pack_in_python(connection: redis.Redis) -> None:
    """Have commands packed by Python: a signal handler that raises, as RQ's do, while hiredis turns a number into text
    makes it read a null pointer, and the process dies (hiredis 3.5, pack_command)."""
    pool = connection.connection_pool
    pool.connection_kwargs["command_packer"] = PythonRespSerializer(_BUFFER_CUTOFF, pool.get_encoder().encode)
    pool.reset()


def work(server: Server, name: str | None = None) -> int:
    """Run an RQ worker until SIGTERM. Exit status: 0 = SIGTERM, 1 = RQ gave up, 75 = see above."""
    worker = RobotWorker([QUEUE], name=name, connection=server.control)
    worker.data = server.data
    with contextlib.suppress(*TROUBLE):  # its entry could not be removed; RQ forgets it after a while
        worker.work(logging_level="WARNING")
    return 0 if worker.was_asked_to_stop else 1


def _mend_executions(job: Job, execution: Execution) -> None:
    """Before RQ reads all executions of a job: it stumbles over one that is listed and cannot be read, because its
    details ran out (ours in an outage, another's with its RQ worker), or are none."""
    execution.save(LEASE_S)
    listed = job.execution_registry.key
    names: list[bytes] = job.connection.zrange(listed, 0, -1)  # type: ignore[assignment]
    for name in names:
        try:
            Execution.fetch(name.decode(), job.id, job.connection)
        except (ValueError, LookupError, OverflowError):
            job.connection.zrem(listed, name)
