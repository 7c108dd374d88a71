"""What a supervisor sees of robots' jobs, and the one move with which it puts them back into the queue."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest
import redis
from rq import registry
from rq.exceptions import DequeueTimeout
from rq.serializers import JSONSerializer

from broker.errors import Unavailable
from deploy.rq.dequeue import RobotQueue
from deploy.rq.job import RobotJob, job_id, names_in
from deploy.rq.leases import LEASE_S, QUEUE, claim, put_back
from deploy.rq.observed import JobSeen
from deploy.rq.queue import enqueue_robot, poll_jobs, requeue, revoke
from deploy.rq.worker import RobotWorker
from tests.support.rq_lab import beating
from tests.support.waiting import await_true

pytestmark = [pytest.mark.live, pytest.mark.skipif(sys.platform != "linux", reason="live runs are for Linux")]


INTERMEDIATE = f"rq:queue:{QUEUE}:intermediate"


def see(lab, robot="r00"):
    [seen] = poll_jobs(lab.connection, "t", [robot])
    return seen


def take(lab):
    """What an RQ worker does first: the id of the next job moves to RQ's intermediate queue."""
    return lab.connection.lmove(f"rq:queue:{QUEUE}", INTERMEDIATE).decode()


def lease(lab, worker="w"):
    """What it does next: the execution under which it will run the job."""
    job = RobotJob.fetch(take(lab), connection=lab.connection)
    return job, RobotWorker([QUEUE], name=worker, connection=lab.connection).prepare_execution(job)


def run_out(lab, execution):
    lab.connection.zadd(f"rq:wip:{QUEUE}", {execution.composite_key: 1})


def test_a_job_is_seen_wherever_it_stands(lab):
    # Given nothing, then a job that is queued, taken, leased, and whose lease has run out
    assert see(lab) == JobSeen("r00", "done")
    enqueue_robot(lab.connection, "t", "r00")
    assert see(lab) == JobSeen("r00", "queued")
    take(lab)
    assert see(lab) == JobSeen("r00", "taken")
    lab.connection.lmove(INTERMEDIATE, f"rq:queue:{QUEUE}")
    _, execution = lease(lab)
    running = see(lab)
    assert (running.state, running.lease) == ("running", execution.composite_key)
    assert 0 < running.lease_left_s <= LEASE_S
    run_out(lab, execution)
    assert (see(lab).state, see(lab).until_s) == ("lost", 1)
    # and one that stands nowhere is lost as well
    lab.connection.zrem(f"rq:wip:{QUEUE}", execution.composite_key)
    lab.connection.delete(INTERMEDIATE)
    assert see(lab).state == "lost"


def test_a_robot_that_has_lived_and_stands_in_the_queue_is_waiting(lab):
    # Given a robot that runs
    lab.run_robot()
    assert (see(lab).state, see(lab).worker) == ("running", "rq-r00")
    # When its RQ worker is told to end
    lab.fleet.signal("rq:r00", signal.SIGTERM)
    lab.await_death("rq:r00")
    # Then it waits
    assert see(lab).state == "waiting"


def test_a_lost_job_is_queued_again_once_however_many_supervisors_there_are(lab):
    # Given a job whose lease has run out, as two supervisors see it
    enqueue_robot(lab.connection, "t", "r00")
    _, execution = lease(lab)
    run_out(lab, execution)
    one, other = see(lab), see(lab)
    # When both put it back
    assert requeue(lab.connection, "t", one)
    assert not requeue(lab.connection, "t", other)
    # Then it stands in the queue once, and nowhere else
    assert lab.queued() == ["robot-t-r00"]
    assert lab.connection.lrange(INTERMEDIATE, 0, -1) == []
    assert lab.leases() == []
    # and when somebody runs it again, what the second saw is still not so
    _, execution = lease(lab)
    assert not requeue(lab.connection, "t", other)
    assert see(lab).lease == execution.composite_key


def test_a_job_that_was_taken_and_never_leased_is_queued_again_once(lab):
    enqueue_robot(lab.connection, "t", "r00")
    take(lab)
    taken = see(lab)
    assert requeue(lab.connection, "t", taken)
    assert not requeue(lab.connection, "t", taken)
    assert lab.queued() == ["robot-t-r00"]
    assert lab.connection.lrange(INTERMEDIATE, 0, -1) == []


def test_a_job_that_is_done_is_not_queued_again(lab):
    enqueue_robot(lab.connection, "t", "r00")
    _, execution = lease(lab)
    seen = see(lab)
    lab.connection.delete("rq:job:robot-t-r00")
    assert not requeue(lab.connection, "t", seen)
    assert lab.queued() == []
    assert not lab.connection.exists("rq:job:robot-t-r00")
    assert seen.lease == execution.composite_key


def test_the_leases_of_a_dead_rq_worker_are_over_at_once(lab):
    # Given a robot whose RQ worker was killed, and another that lives
    lab.run_robot()
    lab.kill_worker()
    lab.start_worker("rq:r01")
    enqueue_robot(lab.connection, "t", "r01")
    lab.await_life(2)
    # When the dead one's leases are revoked, twice
    assert revoke(lab.connection, "t", ["r00", "r01"], "rq-r00") == ["r00"]
    assert revoke(lab.connection, "t", ["r00", "r01"], "rq-r00") == []
    # Then its robot waits, and the other is undisturbed
    assert lab.queued() == ["robot-t-r00"]
    assert [job.state for job in poll_jobs(lab.connection, "t", ["r00", "r01"])] == ["waiting", "running"]


def test_the_lease_of_a_new_rq_worker_is_not_the_dead_ones_though_the_job_still_names_it(lab):
    # Given a robot whose RQ worker is dead, which was put back, and which another one has leased and not claimed yet
    lab.run_robot()
    lab.kill_worker()
    assert revoke(lab.connection, "t", ["r00"], "rq-r00") == ["r00"]
    job, execution = lease(lab, "another")
    assert lab.connection.hget(job.key, "worker_name") == b"rq-r00"
    # When the dead one's leases are revoked / Then this one stands, and is known as its holder's
    assert revoke(lab.connection, "t", ["r00"], "rq-r00") == []
    assert (see(lab).state, see(lab).lease, see(lab).worker) == ("running", execution.composite_key, "another")
    assert see(lab).pid == 0
    # When it is claimed / Then its process is known, too
    assert claim(job, execution)
    assert (see(lab).worker, see(lab).pid) == ("another", os.getpid())


@pytest.mark.parametrize("ahead_s", [-3600, 3600])
def test_a_lease_is_timed_by_the_servers_clock_and_not_by_its_hosts(lab, monkeypatch, ahead_s):
    # Given an RQ worker whose host's clock is wrong
    monkeypatch.setattr(registry, "current_timestamp", lambda: int(time.time()) + ahead_s)
    monkeypatch.setattr(time, "time", lambda clock=time.time: clock() + ahead_s)
    enqueue_robot(lab.connection, "t", "r00")
    # When it takes and renews a lease / Then the rest of it is what it is, and no other may run the job
    job, execution = lease(lab, "w0")
    assert claim(job, execution)
    assert (see(lab).state, see(lab).lease_left_s <= LEASE_S) == ("running", True)
    with lab.connection.pipeline() as pipe:
        execution.heartbeat(job.started_job_registry, LEASE_S, pipe)
        pipe.execute()
    assert (see(lab).state, see(lab).lease_left_s <= LEASE_S) == ("running", True)
    lab.connection.rpush(f"rq:queue:{QUEUE}", job.id)
    other_job, other = lease(lab, "w1")
    assert not claim(other_job, other)


def test_a_server_that_is_away_states_nothing_of_jobs(lab):
    os.kill(lab.server.pid, signal.SIGKILL)
    with pytest.raises(Unavailable):
        poll_jobs(lab.connection, "t", ["r00"])
    with pytest.raises(Unavailable):
        requeue(lab.connection, "t", JobSeen("r00", "lost"))
    with pytest.raises(Unavailable):
        revoke(lab.connection, "t", ["r00"], "w")


def is_full(server):
    server.config_set("maxmemory", 1)


def is_read_only(server):
    server.replicaof("127.0.0.1", "1")


@pytest.mark.parametrize("trouble", [is_full, is_read_only])
def test_a_server_that_can_only_be_read_states_nothing_of_who_renews_a_lease(lab, trouble):
    # Given a server that refuses whatever is written
    enqueue_robot(lab.connection, "t", "r00")
    [seen] = poll_jobs(lab.connection, "t", ["r00"], could_renew=True)
    trouble(lab.connection)
    # When / Then who wants to know whether a robot is lost is told nothing, and who only wants to see is shown all
    with pytest.raises(Unavailable):
        poll_jobs(lab.connection, "t", ["r00"], could_renew=True)
    assert poll_jobs(lab.connection, "t", ["r00"]) == [seen]


# Who holds a job.


def test_of_two_that_take_a_job_at_the_same_moment_one_may_run_it(lab):
    # Given two RQ workers that both have taken a job, and a lease each
    enqueue_robot(lab.connection, "t", "r00")
    lab.connection.rpush(f"rq:queue:{QUEUE}", "robot-t-r00")
    (job, one), (_, other) = lease(lab, "w0"), lease(lab, "w1")
    # When both look whether they may run it / Then one may, for as long as it is asked
    assert claim(job, other)
    assert not claim(job, one)
    assert claim(job, other)
    # until its lease is over
    run_out(lab, other)
    assert claim(job, one)
    assert not claim(job, other)


def test_two_rq_workers_that_take_a_job_at_the_same_moment_bear_one_life(lab):
    # Given two idle RQ workers
    lab.robot_is(beating)
    for name in ("rq:r00", "rq:r01"):
        lab.start_worker(name)
    await_true(lambda: lab.connection.scard("rq:workers") == 2, what="both workers")
    # When the id of a job stands in the queue twice
    with lab.connection.pipeline() as pipe:
        enqueue_robot(lab.connection, "t", "r00")
        pipe.rpush(f"rq:queue:{QUEUE}", "robot-t-r00")
        pipe.execute()
    # Then one of them runs it, and the other ends
    lab.await_life(1)
    await_true(lambda: lab.deaths.extend(lab.fleet.poll(0.05)) or lab.deaths, what="the other's end")
    assert [death.status for death in lab.deaths] == [75]
    assert len(lab.lives()) == 1
    assert len(lab.leases()) == 1
    assert lab.queued() == []


def dequeue(lab):
    """What an RQ worker of ours takes; None when it took nothing."""
    queue = RobotQueue(QUEUE, connection=lab.connection, job_class=RobotJob, serializer=JSONSerializer)
    try:
        return RobotQueue.dequeue_any([queue], 1, lab.connection)[0].id
    except DequeueTimeout:
        return None


def test_a_job_is_dropped_only_while_an_execution_that_may_run_it_has_its_lease(lab, caplog):
    # Given a job that is run, and whose id stands in the queue once more
    enqueue_robot(lab.connection, "t", "r00")
    job, execution = lease(lab)
    assert claim(job, execution)
    lab.connection.lrem(INTERMEDIATE, 0, job.id)
    lab.connection.rpush(f"rq:queue:{QUEUE}", job.id)
    # When it is taken / Then it is dropped, with a line of the log that says why
    assert dequeue(lab) is None
    assert caplog.messages == ['"robot-t-r00" in the queue robots is dropped: the robot runs already']
    assert (lab.queued(), lab.connection.llen(INTERMEDIATE), len(lab.leases())) == ([], 0, 1)
    # When the lease has run out / Then it is taken
    lab.connection.rpush(f"rq:queue:{QUEUE}", job.id)
    run_out(lab, execution)
    assert dequeue(lab) == job.id


def test_a_job_that_is_given_back_while_its_id_is_being_dropped_is_not_lost(lab, monkeypatch):
    # Given a job that is run, and whose id stands in the queue once more
    enqueue_robot(lab.connection, "t", "r00")
    job, execution = lease(lab)
    assert claim(job, execution)
    lab.connection.rpush(f"rq:queue:{QUEUE}", job.id)
    # When its RQ worker gives it back just after the other has seen its lease
    clock = redis.client.Pipeline.time

    def given_back(pipe):
        monkeypatch.setattr(redis.client.Pipeline, "time", clock)
        assert put_back(lab.connection, job.id, execution.composite_key)
        return clock(pipe)

    monkeypatch.setattr(redis.client.Pipeline, "time", given_back)
    # Then the other has it, or it stands in the queue
    assert dequeue(lab) == job.id or lab.queued() == [job.id]


def test_a_lease_given_back_twice_moves_nothing(lab):
    enqueue_robot(lab.connection, "t", "r00")
    job, execution = lease(lab)
    assert put_back(lab.connection, job.id, execution.composite_key)
    assert not put_back(lab.connection, job.id, execution.composite_key)
    assert lab.queued() == ["robot-t-r00"]


def test_a_jobs_id_reports_whose_it_is():
    assert names_in(job_id("a1-b2", "r07")) == ("a1-b2", "r07")
    for other in ("robot", "robot-", "x-t-r00", "6b0c1e8e-5d0b-4a37-8f70-5d2a6c1f2f52"):
        with pytest.raises(ValueError, match="no robot"):
            names_in(other)
