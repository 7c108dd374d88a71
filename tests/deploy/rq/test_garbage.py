"""Garbage where RQ keeps queues, jobs and leases: it is refused or passed over, and costs no process and no robot."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

import pytest
import rq
from rq import get_current_job
from rq.exceptions import DequeueTimeout, NoSuchJobError
from rq.registry import FailedJobRegistry
from rq.serializers import JSONSerializer
from rq.worker_registration import REDIS_WORKER_KEYS

from deploy.rq.dequeue import RobotQueue
from deploy.rq.job import ALWAYS, ROBOT_JOB, RobotJob
from deploy.rq.leases import HOLDER, HOST, PID, QUEUE
from deploy.rq.observed import JobSeen
from deploy.rq.queue import enqueue_robot, poll_jobs, requeue, rq_workers, withdraw_robot
from tests.support.rq_lab import STARTS_KEY, beating
from tests.support.waiting import await_true, is_alive

pytestmark = [pytest.mark.live, pytest.mark.skipif(sys.platform != "linux", reason="live runs are for Linux")]

QUEUE_KEY = f"rq:queue:{QUEUE}"
INTERMEDIATE = f"{QUEUE_KEY}:intermediate"
LEASES = f"rq:wip:{QUEUE}"
WORKERS = f"rq:workers:{QUEUE}"
JOB = "rq:job:robot-t-r00"
GARBAGE_LEASES = dict.fromkeys((b"\xff", b"", b"no-colon", b"a:b:c", b"robot-t-r00", b"robot-t-r00:\xff"), 1e12)


def done_at_once(_run, _robot):
    """A job that is done at once."""
    get_current_job().connection.rpush(STARTS_KEY, os.getpid())


def refused(lab):
    """The jobs that RQ shows as failed, each with its reason."""
    registry = FailedJobRegistry(QUEUE, connection=lab.connection, serializer=JSONSerializer)
    jobs = []
    for job_id in registry.get_job_ids():
        with suppress(NoSuchJobError):
            jobs.append(rq.job.Job.fetch(job_id, connection=lab.connection, serializer=JSONSerializer))
    assert all(job.get_status() == "failed" for job in jobs)
    return {job.id: (job.description, job.latest_result().exc_string) for job in jobs}


def start_idle_worker(lab):
    lab.start_worker()
    await_true(lambda: lab.connection.hget("rq:worker:rq-r00", "state") == b"idle", what="idleness")
    return lab.fleet.living["rq:r00"]


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        (b"\xff", r'"\xff"'),
        (b"a b", '"a b"'),
        pytest.param(b"", '""', marks=pytest.mark.long),
        (b"x" * (1 << 20), f'"{"x" * 100}'),
        (b"a\nb\x1b", r'"a\nb\x1b"'),
        (b"no-such-job", '"no-such-job"'),
        (b"robot-t-r07", '"robot-t-r07"'),
        (b"robot-t-r00:0", '"robot-t-r00:0"'),
    ],
    ids=["no UTF-8", "a blank", "empty", "a megabyte", "a new line", "no job", "a robot without a job", "a lease"],
)
def test_an_entry_that_is_no_jobs_id_is_refused_once_and_its_rq_worker_goes_on(lab, entry, shown):
    # Given an RQ worker, and a robot behind an entry that is the id of no job
    lab.robot_is(beating)
    worker = start_idle_worker(lab)
    lab.connection.rpush(QUEUE_KEY, entry)
    enqueue_robot(lab.connection, "t", "r00")
    # When the RQ worker takes both / Then the robot lives, on the same RQ worker,
    horse = lab.await_life(1)
    assert lab.fleet.living == {"rq:r00": worker}
    assert is_alive(horse)
    # the entry is gone from the queue,
    assert (lab.queued(), lab.connection.llen(INTERMEDIATE)) == ([], 0)
    # and RQ keeps it, cut to a length that can be read, with the reason
    [(description, reason)] = refused(lab).values()
    assert description.startswith(shown)
    assert len(description) < 1000
    assert reason == "it is the id of no job"


def test_a_refusal_is_one_line_of_the_log_and_the_wait_for_a_job_goes_on(lab, caplog):
    # Given an entry that is no text, and a robot behind it
    lab.connection.rpush(QUEUE_KEY, b"a\n\xff" + b"x" * (1 << 20))
    enqueue_robot(lab.connection, "t", "r00")
    queue = RobotQueue(QUEUE, connection=lab.connection, job_class=RobotJob, serializer=JSONSerializer)
    # When the first is taken / Then one line shows it and why,
    with pytest.raises(DequeueTimeout):
        RobotQueue.dequeue_any([queue], 1, lab.connection)
    [line] = caplog.messages
    assert line.startswith(r'"a\n\xffxxx')
    assert line.endswith('…" in the queue robots is refused: it is the id of no job')
    assert (len(line.splitlines()), len(line) < 1000) == (1, True)
    # and the robot's job is the next, also for an RQ worker of several queues
    lab.connection.rpush("rq:queue:other", b"\xff")
    other = RobotQueue("other", connection=lab.connection, job_class=RobotJob, serializer=JSONSerializer)
    with pytest.raises(DequeueTimeout):
        RobotQueue.dequeue_any([other, queue], None, lab.connection)
    job, found_in = RobotQueue.dequeue_any([other, queue], None, lab.connection)
    assert (job.id, job.origin, found_in) == ("robot-t-r00", QUEUE, queue)
    assert RobotQueue.dequeue_any([other, queue], None, lab.connection) is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x80\x04garbage", "its data cannot be read"),
        (b"", "its data cannot be read"),
        (b"[" * 100_000, "its data cannot be read"),
        (b"5", "its data cannot be read"),
        (b'["os.abort", null, ["t", "r00"], {}]', "it calls ('os.abort', None, ['t', 'r00'], {})"),
        (f'["{ROBOT_JOB}", null, ["t", "r01"], {{}}]'.encode(), f"it calls ('{ROBOT_JOB}', None, ['t', 'r01'], {{}})"),
        (f'["{ROBOT_JOB}", null, 5, {{}}]'.encode(), f"it calls ('{ROBOT_JOB}', None, 5, {{}})"),
    ],
    ids=["bytes", "none", "nested", "a number", "another function", "another robot", "no arguments"],
)
def test_a_job_that_does_not_call_its_robot_is_refused_before_there_is_a_horse(lab, data, reason):
    # Given a job with a robot's id, and data that are not the robot's
    lab.robot_is(beating)
    enqueue_robot(lab.connection, "t", "r00")
    lab.connection.hset(JOB, "data", data)
    # When an RQ worker takes it / Then RQ keeps it as failed, with the reason, nothing ran, and the RQ worker goes on
    lab.start_worker()
    worker = lab.fleet.living["rq:r00"]
    await_true(lambda: lab.connection.zcard(f"rq:failed:{QUEUE}"), what="the refusal")
    assert {job: why for job, (_, why) in refused(lab).items()} == {"robot-t-r00": reason}
    assert (lab.lives(), lab.leases(), lab.connection.llen(INTERMEDIATE)) == ([], [], 0)
    enqueue_robot(lab.connection, "t", "r01")
    lab.await_life(1)
    assert lab.fleet.living == {"rq:r00": worker}


@pytest.mark.parametrize("stored", ["a text", "no data"])
def test_what_stands_in_the_place_of_a_job_and_is_none_is_left_alone(lab, stored):
    # Given an id under which there is something that is no job
    worker = start_idle_worker(lab)
    if stored == "a text":
        lab.connection.set("rq:job:x", "a text")
    else:
        lab.connection.hset("rq:job:x", "colour", b"\xff")
    before = lab.connection.dump("rq:job:x")
    # When it is taken / Then the entry is refused, and what stands there is as it was
    lab.connection.rpush(QUEUE_KEY, "x")
    await_true(lambda: refused(lab), what="the refusal")
    assert lab.connection.dump("rq:job:x") == before
    assert list(refused(lab).values()) == [('"x"', "it is the id of no job")]
    assert lab.fleet.living == {"rq:r00": worker}


FIELDS = (
    *("status", "worker_name", "origin", "description", "created_at", "enqueued_at", "started_at", "last_heartbeat"),
    *("timeout", "result_ttl", "failure_ttl", "retries_left", "meta", "group_id", "dependency_ids", "exc_info"),
    *(HOLDER, HOST, PID, "rate_limit_key", "webhooks"),
)


def test_a_robot_lives_whatever_stands_in_the_other_fields_of_its_job(lab):
    # Given a robot in the queue, and garbage in all fields of its job but its data
    lab.robot_is(beating)
    enqueue_robot(lab.connection, "t", "r00")
    lab.connection.hset(JOB, mapping=dict.fromkeys((*FIELDS, b"\xfe"), b"\xff"))
    assert poll_jobs(lab.connection, "t", ["r00"]) == [JobSeen("r00", "waiting", r"\xff")]
    # When an RQ worker takes it / Then it lives, for as long as it wants, and its death is no end either
    lab.start_worker()
    worker = lab.fleet.living["rq:r00"]
    os.kill(lab.await_life(1), signal.SIGKILL)
    lab.await_life(2)
    assert lab.fleet.living == {"rq:r00": worker}
    assert len(lab.leases()) == 1
    job = RobotJob.fetch("robot-t-r00", connection=lab.connection, serializer=JSONSerializer)
    assert (job.timeout, job.result_ttl, job.retries_left) == (-1, 0, ALWAYS)


@pytest.mark.parametrize("how", ["dies", pytest.param("ends in order", marks=pytest.mark.long)])
def test_garbage_that_comes_while_a_robot_runs_costs_neither_its_rq_worker_nor_its_next_life(lab, how):
    # Given a robot that runs, and garbage in its job
    horse = lab.run_robot()
    worker = lab.fleet.living["rq:r00"]
    lab.connection.hset(JOB, mapping=dict.fromkeys(FIELDS, b"\xff"))
    [seen] = poll_jobs(lab.connection, "t", ["r00"])
    assert (seen.state, seen.worker, seen.pid, seen.host) == ("running", "rq-r00", 0, "")
    # When its horse dies, or its RQ worker ends in order
    if how == "dies":
        os.kill(horse, signal.SIGKILL)
        # Then it has another life on the same RQ worker
        lab.await_life(2)
        assert lab.fleet.living == {"rq:r00": worker}
    else:
        lab.fleet.signal("rq:r00", signal.SIGTERM)
        # Then it waits for another one
        assert lab.await_death("rq:r00").status == 0
        assert lab.queued() == ["robot-t-r00"]


def test_a_lost_robot_is_queued_again_whatever_stands_beside_its_lease(lab):
    # Given a robot whose RQ worker was killed, and garbage in its job and among the leases
    lab.run_robot()
    lab.kill_worker()
    lab.connection.hset(JOB, mapping=dict.fromkeys(FIELDS, b"\xff"))
    lab.connection.zadd(LEASES, GARBAGE_LEASES)
    # When a supervisor queues it again / Then it stands in the queue, and has no lease
    [seen] = poll_jobs(lab.connection, "t", ["r00"])
    assert requeue(lab.connection, "t", seen)
    assert lab.queued() == ["robot-t-r00"]
    assert set(lab.leases()) == set(GARBAGE_LEASES)


def test_a_robot_is_done_whatever_stands_among_its_executions_and_dependents(lab):
    # Given garbage among all that RQ reads when a job is done
    lab.connection.zadd("rq:executions:robot-t-r00", {b"\xff": 1e12, "": 1e12, "a": 1e12, "b": 1e12, "c d": 1e12})
    lab.connection.hset("rq:execution:robot-t-r00:a", "created_at", b"\xff")
    lab.connection.hset("rq:execution:robot-t-r00:b", mapping={"created_at": "1e300", "last_heartbeat": "0"})
    lab.connection.sadd(f"{JOB}:dependents", b"\xff", "a b")
    # When the robot's life ends
    lab.robot_is(done_at_once)
    lab.start_worker()
    worker = lab.fleet.living["rq:r00"]
    enqueue_robot(lab.connection, "t", "r00")
    # Then its job is done, and was run once
    await_true(lambda: lab.lives() and not lab.connection.exists(JOB), what="the end of the job")
    assert len(lab.lives()) == 1
    assert (lab.leases(), lab.queued()) == ([], [])
    assert lab.fleet.living == {"rq:r00": worker}


def test_a_robot_can_be_withdrawn_whatever_stands_among_its_executions(lab):
    enqueue_robot(lab.connection, "t", "r00")
    lab.connection.zadd("rq:executions:robot-t-r00", {b"\xff": 1e12, "a:b": 1e12})
    lab.connection.zadd(LEASES, GARBAGE_LEASES)
    withdraw_robot(lab.connection, "t", "r00")
    assert lab.connection.keys("rq:*robot-t-r00*") == []


GARBAGE_LEASES = {
    b"\xff": 5.0,
    b"": 6.0,
    b"no-colon": 7.0,
    b"a:b:c": 8.0,
    b"robot-t-r00": 1e12,
    b"robot-t-r00:\xff": 1e12,
}


def test_who_polls_the_jobs_passes_over_garbage(lab):
    # Given a robot in the queue, and garbage wherever jobs stand
    enqueue_robot(lab.connection, "t", "r00")
    for key in (QUEUE_KEY, INTERMEDIATE):
        lab.connection.rpush(key, b"\xff", "a b", "", "x" * (1 << 20))
    lab.connection.zadd(LEASES, GARBAGE_LEASES)
    # When / Then the robot is seen, and one that was never queued is not
    assert poll_jobs(lab.connection, "t", ["r00", "r01"], could_renew=True) == [
        JobSeen("r00", "queued"),
        JobSeen("r01", "done"),
    ]


def test_what_is_no_rq_worker_is_removed_from_the_set_of_them(lab):
    # Given an RQ worker whose last heartbeat and state cannot be read, and members that are no RQ workers
    start_idle_worker(lab)
    for key in (WORKERS, REDIS_WORKER_KEYS):
        lab.connection.sadd(key, b"\xff", b"rq:worker:\xff", "", "rq:worker:gone", QUEUE_KEY)
    lab.connection.rpush(INTERMEDIATE, "x")
    lab.connection.sadd(WORKERS, INTERMEDIATE)
    lab.connection.hset("rq:worker:a\nb", mapping={"state": b"\xff", "last_heartbeat": b"\xff"})
    lab.connection.sadd(WORKERS, "rq:worker:a\nb")
    # When a supervisor asks for those that are idle / Then it sees the RQ workers, and the rest is gone
    seen = rq_workers(lab.connection)
    assert [(worker.name, worker.state) for worker in seen] == [("a\nb", r"\xff"), ("rq-r00", "idle")]
    assert lab.connection.smembers(WORKERS) == {b"rq:worker:rq-r00", b"rq:worker:a\nb"}
    assert lab.connection.smembers(REDIS_WORKER_KEYS) == {b"rq:worker:rq-r00"}
