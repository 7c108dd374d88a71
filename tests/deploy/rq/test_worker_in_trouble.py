"""An RQ worker whose server is in trouble: it costs neither the worker nor the job."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis
import rq
from rq.executions import Execution

from deploy.rq.job import RobotJob
from deploy.rq.leases import LEASE_S, QUEUE
from deploy.rq.queue import enqueue_robot
from deploy.rq.worker import RobotWorker
from tests.support.rq_lab import beating
from tests.support.waiting import await_true, is_alive

pytestmark = [pytest.mark.live, pytest.mark.skipif(sys.platform != "linux", reason="live runs are for Linux")]


def test_a_robot_survives_a_restart_of_the_server(lab):
    # Given a robot that runs
    horse = lab.run_robot()
    worker = lab.fleet.living["rq:r00"]
    [member] = lab.leases()
    # When the server is killed, stays away until a heartbeat was missed, and comes back
    lease = lab.connection.zscore(f"rq:wip:{QUEUE}", member)
    os.kill(lab.server.pid, signal.SIGKILL)
    await_true(lambda: time.time() > lease, LEASE_S + 1, "the lease's end")
    with lab.server_again():
        # Then the same life goes on, and its lease is renewed
        await_true(lambda: answered(lab.connection, member) > time.time(), what="a renewed lease")
        assert is_alive(horse)
        assert lab.fleet.living == {"rq:r00": worker}


def test_a_horse_that_dies_while_the_server_is_away_runs_again_when_it_is_back(lab):
    # Given a robot that runs
    horse = lab.run_robot()
    worker = lab.fleet.living["rq:r00"]
    # When the server is killed, and then the horse, and its RQ worker has buried it
    lab.kill_server_and(horse)
    with lab.server_again():
        # Then its job is queued again as soon as the server is back, and lives with the same RQ worker
        await_true(lambda: answered_lives(lab) == 2, what="the second life")
        assert lab.fleet.living == {"rq:r00": worker}


def test_an_rq_worker_that_waits_for_its_server_ends_when_reported(lab):
    # Given an RQ worker whose horse died while the server is away
    horse = lab.run_robot()
    lab.kill_server_and(horse)
    # When it is told to end / Then it does, in order
    lab.fleet.signal("rq:r00", signal.SIGTERM)
    assert lab.await_death("rq:r00").status == 0


def test_a_heartbeat_that_comes_after_the_job_is_done_leaves_nothing(lab):
    # Given an RQ worker whose horse has just given its lease back, in order
    enqueue_robot(lab.connection, "t", "r00")
    worker = RobotWorker([QUEUE], name="late", connection=lab.connection)
    job = RobotJob.fetch("robot-t-r00", connection=lab.connection)
    with lab.connection.pipeline() as pipe:
        execution = Execution.create(job, LEASE_S, pipe, worker.name)
        pipe.execute()
        execution.delete(job, pipe)
        pipe.execute()
    worker.register_birth()
    worker._heartbeat = SimpleNamespace(read=lambda: True, is_done=lambda: True)
    worker._remote_commands = SimpleNamespace(execute=lambda: None)
    # When it sends the heartbeat that was due
    worker.maintain_heartbeats(job, execution)
    # Then no key of that execution is left
    assert lab.connection.keys("rq:execution:*") == []


def answered(connection, member):
    try:
        return connection.zscore(f"rq:wip:{QUEUE}", member) or 0
    except redis.exceptions.RedisError:
        return 0


def answered_lives(lab):
    try:
        return len(lab.lives())
    except redis.exceptions.RedisError:
        return 0


def once(lab, monkeypatch, owner, name, is_done):
    """The next call of that method fails as if the server had gone away, before or after it was done."""
    method = getattr(owner, name)

    def failing(*arguments, **named):
        result = method(*arguments, **named) if is_done else None
        if lab.connection.incr("test:trouble") == 1:
            raise redis.exceptions.ConnectionError("the server went away")
        return result if is_done else method(*arguments, **named)

    monkeypatch.setattr(owner, name, failing)


@pytest.mark.parametrize(
    ("owner", "name", "is_done"),
    [
        (rq.Worker, "check_for_suspension", False),
        (rq.Worker, "set_state", False),
        (rq.Worker, "heartbeat", False),
        (rq.Queue, "lmove", True),
        (RobotJob, "fetch", False),
        (rq.Worker, "prepare_execution", False),
        (rq.Worker, "prepare_execution", True),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_trouble_before_there_is_a_lease_costs_neither_the_rq_worker_nor_the_job(
    lab, monkeypatch, owner, name, is_done
):
    # Given a robot in the queue
    lab.robot_is(beating)
    enqueue_robot(lab.connection, "t", "r00")
    # When an RQ worker meets trouble on its way to it, and a supervisor looks after the robot
    once(lab, monkeypatch, owner, name, is_done)
    lab.start_worker()
    worker = lab.fleet.living["rq:r00"]

    def lives():
        lab.supervise("r00")
        return lab.lives()

    # Then the same RQ worker runs it after all
    await_true(lives, what="a life")
    assert int(lab.connection.get("test:trouble")) >= 1
    assert lab.fleet.living == {"rq:r00": worker}
    assert lab.queued() == []
    assert len(lab.leases()) == 1


def test_an_rq_worker_without_a_server_ends_when_reported(lab):
    # Given an idle RQ worker
    lab.start_worker()
    await_true(lambda: lab.connection.hget("rq:worker:rq-r00", "state") == b"idle", what="idleness")
    # When the server is gone, and it is told to end
    os.kill(lab.server.pid, signal.SIGKILL)
    lab.fleet.signal("rq:r00", signal.SIGTERM)
    # Then it does
    assert lab.await_death("rq:r00").status == 0


@contextlib.contextmanager
def refusing(connection, how):
    """Within, the server refuses to write, or (as one that loads what it had stored) everything."""
    if how == "out of memory":
        connection.config_set("maxmemory", 1)
    else:
        connection.config_set("replica-serve-stale-data", "yes" if how == "read only" else "no")
        connection.replicaof("127.0.0.1", "1")
    yield
    connection.config_set("maxmemory", 0)
    connection.replicaof("NO", "ONE")


@pytest.mark.parametrize("how", ["out of memory", "read only", "down"])
def test_an_rq_worker_bears_a_server_that_refuses_while_it_waits_and_when_its_horse_dies(lab, how):
    # Given an idle RQ worker
    lab.robot_is(beating)
    lab.start_worker()
    worker = lab.fleet.living["rq:r00"]
    await_true(lambda: lab.connection.hget("rq:worker:rq-r00", "state") == b"idle", what="idleness")
    # When its server refuses for longer than it waits for a job, then has one,
    with refusing(lab.connection, how):
        assert lab.fleet.poll(1) == []
    enqueue_robot(lab.connection, "t", "r00")
    horse = lab.await_life(1)
    # and refuses again when the horse dies
    with refusing(lab.connection, how):
        os.kill(horse, signal.SIGKILL)
        await_true(lambda: not Path(f"/proc/{horse}").exists(), what="the burial")
        assert lab.fleet.poll(0.3) == []
    # Then the same RQ worker runs the robot's next life
    lab.await_life(2)
    assert lab.fleet.living == {"rq:r00": worker}
