"""The RQ worker that runs robots, against a real server with real processes and real kills."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time

import pytest
import redis
import rq
from rq import get_current_job
from rq.serializers import JSONSerializer
from rq.webhook import Webhook

from broker.ports.robot import Death
from deploy.rq import heartbeat as heartbeat_module
from deploy.rq.job import ALWAYS, ROBOT_JOB, RobotJob
from deploy.rq.leases import HEARTBEAT_S, QUEUE
from deploy.rq.queue import JobTable, enqueue_robot, withdraw_robot, withdraw_workers
from deploy.rq.worker import RobotWorker
from robots.restart_budget import FENCED
from tests.support.checkout import ROOT
from tests.support.rq_lab import ENDS_KEY, STARTS_KEY, beating, deal
from tests.support.waiting import DEADLINE_S, await_true, is_alive

pytestmark = [pytest.mark.live, pytest.mark.skipif(sys.platform != "linux", reason="live runs are for Linux")]


def fenced(_run, _robot):
    get_current_job().connection.rpush(STARTS_KEY, os.getpid())
    os._exit(FENCED)


def beating_then_crashing(_run, _robot):
    """A job that raises once it is told to (by a key)."""
    connection = get_current_job().connection
    connection.rpush(STARTS_KEY, os.getpid())
    while not connection.exists("test:crash"):
        heartbeat_module.beat()
        time.sleep(0.02)
    raise RuntimeError("a bug of ours")


def raw_job(connection, function, arguments, serializer=JSONSerializer):
    """What anybody who can write to the server could queue."""
    return rq.Queue(QUEUE, connection=connection, serializer=serializer).enqueue_call(function, args=arguments)


def test_a_job_that_names_another_function_fails_and_is_not_executed(lab):
    # Given a job that would make a file
    witness = lab.folder / "executed"
    job = raw_job(lab.connection, "os.system", [f"touch {witness}"])
    # When an RQ worker gets it
    lab.start_worker()
    # Then it fails, and nothing was executed
    await_true(lambda: lab.connection.hget(job.key, "status") == b"failed", what="the refusal")
    assert not witness.exists()


class Trap:
    """What runs a command as soon as somebody unpickles it."""

    def __init__(self, command):
        self._command = command

    def __reduce__(self):
        return os.system, (self._command,)


def test_a_pickled_job_fails_and_is_not_even_read(lab):
    # Given a job in RQ's own default serializer, with an argument that bites
    witness = lab.folder / "executed"
    job = raw_job(lab.connection, ROBOT_JOB, [Trap(f"touch {witness}")], pickle)
    # When an RQ worker gets it
    lab.start_worker()
    # Then it fails, and nothing was executed
    await_true(lambda: lab.connection.hget(job.key, "status") == b"failed", what="the refusal")
    assert not witness.exists()


def test_callbacks_and_webhooks_of_a_job_are_never_called(monkeypatch):
    # Given a job that names functions and an address for all of its ends
    called = []
    monkeypatch.setattr(Webhook, "send", lambda *_, **__: called.append("webhook"))
    job = RobotJob("x", connection=redis.Redis(), serializer=JSONSerializer)
    job._failure_callback_name = job._success_callback_name = job._stopped_callback_name = "os.abort"
    job.webhooks = [Webhook("http://127.0.0.1:9/", "failed")]
    # When it ends / Then RQ finds no function, and calls no address
    assert (job.failure_callback, job.success_callback, job.stopped_callback) == (None, None, None)
    job.send_webhooks("failed", exc_string="")
    assert called == []


def test_a_killed_horse_runs_again_on_the_same_rq_worker(lab):
    # Given a robot that runs
    horse = lab.run_robot()
    worker = lab.fleet.living["rq:r00"]
    # When its horse is killed
    os.kill(horse, signal.SIGKILL)
    # Then it has a second life on the same RQ worker
    lab.await_life(2)
    assert lab.fleet.living == {"rq:r00": worker}
    assert lab.fleet.poll(0) == []


def test_a_horse_whose_loop_stops_is_killed_and_replaced(lab):
    # Given a robot that runs
    horse = lab.run_robot()
    # When its loop does not turn any more, though the process exists
    os.kill(horse, signal.SIGSTOP)
    # Then it is replaced
    lab.await_life(2)
    assert not is_alive(horse)


def test_the_lease_is_not_renewed_for_a_silent_loop(lab):
    # Given a robot that runs
    horse = lab.run_robot()
    # When its loop stops
    os.kill(horse, signal.SIGSTOP)
    # Then its lease is not renewed until the horse is killed; once at most, for a beat from before
    [member] = lab.leases()
    scores = set()
    await_true(
        lambda: scores.add(lab.connection.zscore(f"rq:wip:{QUEUE}", member)) or not is_alive(horse),
        what="the horse's end",
    )
    assert len(scores - {None}) <= 2


def test_a_fenced_horse_ends_its_rq_worker_and_is_not_queued_again(lab):
    # Given a robot that finds a later life of itself
    lab.robot_is(fenced)
    lab.start_worker()
    # When it runs
    enqueue_robot(lab.connection, "t", "r00")
    # Then its RQ worker ends likewise,
    assert lab.await_death("rq:r00").status == FENCED
    # and nothing is left from which RQ could make another life, even when abandoned jobs are looked for
    assert lab.leases() == []
    lab.clean_up()
    assert lab.queued() == []
    assert len(lab.lives()) == 1
    assert lab.connection.smembers("rq:workers") == set()


def test_who_lost_its_lease_ends_with_its_horse(lab):
    # Given a robot that runs
    horse = lab.run_robot()
    # When somebody takes its lease away, as for an abandoned robot
    lab.connection.zrem(f"rq:wip:{QUEUE}", *lab.leases())
    # Then both end, and neither queues the job
    assert lab.await_death("rq:r00").status == FENCED
    await_true(lambda: not is_alive(horse), what="the horse's end")
    assert lab.queued() == []


@pytest.mark.parametrize("how", ["crashes", "is killed"])
def test_a_horse_that_ends_after_its_lease_was_lost_is_not_queued_again(lab, how):
    # Given a robot that runs, and whose lease was taken away
    horse = lab.run_robot(beating_then_crashing)
    lab.connection.zrem(f"rq:wip:{QUEUE}", *lab.leases())
    # When it ends before its RQ worker has noticed
    if how == "crashes":
        lab.connection.set("test:crash", 1)
    else:
        os.kill(horse, signal.SIGKILL)
    # Then there is no life more from here
    assert lab.await_death("rq:r00").status == FENCED
    assert lab.queued() == []


def test_the_id_of_a_robot_that_runs_is_dropped_and_ends_no_rq_worker(lab):
    # Given a robot that runs, and an RQ worker that is idle
    horse = lab.run_robot()
    lab.start_worker("rq:r01")
    await_true(lambda: lab.connection.scard("rq:workers") == 2, what="both RQ workers")
    workers = dict(lab.fleet.living)
    # When the robot's job is queued a second time, and another robot behind it
    lab.connection.rpush(f"rq:queue:{QUEUE}", "robot-t-r00")
    enqueue_robot(lab.connection, "t", "r01")
    # Then the idle RQ worker runs that one, and the first robot goes on undisturbed
    lab.await_life(2)
    assert (lab.fleet.poll(0), lab.fleet.living) == ([], workers)
    assert is_alive(horse)
    assert len(lab.leases()) == 2
    assert (lab.queued(), lab.connection.llen(f"rq:queue:{QUEUE}:intermediate")) == ([], 0)


def test_the_job_that_was_dropped_is_queued_again_when_its_robot_dies(lab):
    # Given a robot whose id was queued twice, and dropped once
    horse = lab.run_robot()
    lab.start_worker("rq:r01")
    lab.connection.rpush(f"rq:queue:{QUEUE}", "robot-t-r00")
    await_true(lambda: lab.queued() == [], what="the drop")
    # When its horse is killed / Then it lives again
    os.kill(horse, signal.SIGKILL)
    lab.await_life(2)


def test_a_killed_rq_worker_leaves_no_horse_and_its_robot_can_run_elsewhere_at_once(lab):
    # Given a robot that runs
    horse = lab.run_robot()
    # When its RQ worker is killed
    lab.kill_worker()
    # Then the horse is gone,
    await_true(lambda: not is_alive(horse), what="the horse's end")
    # and once its lease is declared void, the robot has a second life on another RQ worker
    [member] = lab.leases()
    lab.connection.zadd(f"rq:wip:{QUEUE}", {member: 1})
    lab.clean_up()
    lab.start_worker("rq:r01")
    lab.await_life(2)


def test_a_lease_that_ran_out_keeps_no_robot_from_living_elsewhere(lab):
    # Given a robot whose RQ worker was killed, and whose lease ran out without anybody looking after it
    lab.run_robot()
    lab.kill_worker()
    [member] = lab.leases()
    lab.connection.zadd(f"rq:wip:{QUEUE}", {member: 1})
    # When its job is queued again, by any process
    lab.connection.rpush(f"rq:queue:{QUEUE}", "robot-t-r00")
    lab.start_worker("rq:r01")
    # Then it lives
    lab.await_life(2)


def test_an_idle_rq_worker_ends_quickly_when_reported(lab):
    # Given an RQ worker that waits for a job
    lab.start_worker()
    await_true(lambda: lab.connection.hget("rq:worker:rq-r00", "state") == b"idle", what="idleness")
    # When it is told to end
    lab.fleet.signal("rq:r00", signal.SIGTERM)
    # Then it does, in order, long before RQ itself would ask for a job again
    assert lab.await_death("rq:r00").status == 0
    assert lab.connection.smembers("rq:workers") == set()


def test_a_busy_rq_worker_lets_its_robot_end_in_order_and_wait_in_the_queue(lab):
    # Given a robot that runs
    horse = lab.run_robot()
    # When its RQ worker is told to end
    lab.fleet.signal("rq:r00", signal.SIGTERM)
    # Then the robot ends in order, then the RQ worker, and the robot's job waits for another one
    assert lab.await_death("rq:r00").status == 0
    assert [int(pid) for pid in lab.connection.lrange(ENDS_KEY, 0, -1)] == [horse]
    assert lab.queued() == ["robot-t-r00"]


def test_a_horse_that_gives_its_lease_back_and_is_slow_to_end_has_not_lost_it(lab, monkeypatch):
    # Given a robot that runs, in a horse that will need longer than a heartbeat between its job's end and its own
    give_back = RobotWorker.handle_job_retry

    def slowly(worker, *arguments, **named):
        give_back(worker, *arguments, **named)
        time.sleep(1.5 * HEARTBEAT_S)

    monkeypatch.setattr(RobotWorker, "handle_job_retry", slowly)
    lab.run_robot()
    # When its RQ worker is told to end
    lab.fleet.signal("rq:r00", signal.SIGTERM)
    # Then it ends in order
    assert lab.await_death("rq:r00").status == 0
    assert lab.queued() == ["robot-t-r00"]


def test_it_can_be_reported_which_robot_a_killed_rq_worker_ran(lab):
    # Given an RQ worker with a robot, and an idle one
    lab.run_robot(robot="r07")
    lab.start_worker("rq:r01")
    # When the first is killed
    lab.kill_worker()
    # Then its robot is known, and the other has none
    job_table = JobTable(lab.connection, "t", ("r07",))
    assert job_table.poll(1.0)
    assert (job_table.worker_of("r07"), job_table.robot_of("rq-r00"), job_table.robot_of("rq-r01")) == (
        "rq-r00",
        "r07",
        "",
    )
    # and that is remembered while the server is away
    os.kill(lab.server.pid, signal.SIGKILL)
    assert not job_table.poll(2.0)
    assert (job_table.robot_of("rq-r00"), job_table.polled_s) == ("r07", 1.0)


def test_a_robot_that_is_withdrawn_leaves_nothing_wherever_its_job_stands(lab):
    # Given robots of a run: one whose RQ worker was killed, one just taken, one that failed, one queued
    lab.robot_is(beating)
    lab.start_worker("rq:r00")
    for number in range(4):
        enqueue_robot(lab.connection, "t", f"r{number:02d}")
    lab.await_life(1)
    lab.kill_worker()
    lab.connection.lmove(f"rq:queue:{QUEUE}", f"rq:queue:{QUEUE}:intermediate")
    lab.connection.zadd(f"rq:failed:{QUEUE}", {"robot-t-r02": 1})
    # and one of another run
    enqueue_robot(lab.connection, "u", "r00")
    lab.connection.delete(STARTS_KEY)

    # When the run is withdrawn, twice, for the first time may have been cut short
    for _ in range(2):
        for number in range(4):
            withdraw_robot(lab.connection, "t", f"r{number:02d}")
        withdraw_workers(lab.connection, ["rq-r00"])

    # Then the other run is untouched,
    assert sorted(lab.connection.keys("*")) == [b"rq:job:robot-u-r00", b"rq:queue:robots", b"rq:queues"]
    assert lab.queued() == ["robot-u-r00"]
    # and without that, not even the queue's name is left
    withdraw_robot(lab.connection, "u", "r00")
    withdraw_workers(lab.connection, [])
    assert lab.connection.keys("*") == []


def test_ctrl_c_does_not_reach_the_children_of_a_fleet(lab):
    # Given a robot that runs
    horse = lab.run_robot()
    worker = lab.fleet.living["rq:r00"]
    # When SIGINT comes to both
    os.kill(worker, signal.SIGINT)
    os.kill(horse, signal.SIGINT)
    # Then both go on: the next heartbeat is sent
    before = lab.connection.hget("rq:worker:rq-r00", "last_heartbeat")
    await_true(lambda: lab.connection.hget("rq:worker:rq-r00", "last_heartbeat") != before, what="a heartbeat")
    assert is_alive(horse)
    assert lab.lives() == [horse]


def test_rq_info_lists_workers_and_their_jobs(lab):
    # Given two RQ workers, one of them with a robot
    lab.robot_is(beating)
    lab.start_worker("rq:r00")
    lab.start_worker("rq:r01")
    enqueue_robot(lab.connection, "t", "r00")
    lab.await_life(1)
    await_true(lambda: lab.connection.scard("rq:workers") == 2, what="both workers")
    # When a person asks RQ
    reported = subprocess.run(
        [sys.executable, "-m", "rq.cli", "info", "--url", lab.server.url, "--raw"],
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
    ).stdout
    # Then it tells of both, and of the robot
    assert "worker rq-r00 " in reported
    assert "worker rq-r01 " in reported
    assert "busy" in reported
    assert "idle" in reported


def test_rqs_own_command_runs_our_worker_by_our_rules(lab):
    # Given RQ's command line, with no option that would make it safe
    witness = lab.folder / "executed"
    command = [sys.executable, "-m", "rq.cli", "worker", "-u", lab.server.url]
    command += ["-w", "deploy.rq.worker.RobotWorker", QUEUE]
    log = (lab.folder / "rq.log").open("wb")
    with log, subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT) as process:
        try:
            # When it meets a job that names another function
            job = raw_job(lab.connection, "os.system", [f"touch {witness}"])
            # Then it refuses,
            await_true(lambda: lab.connection.hget(job.key, "status") == b"failed", what="the refusal")
            assert not witness.exists()
            # and ends quickly when told
            process.terminate()
            assert process.wait(DEADLINE_S) == 0
        finally:
            process.kill()


def test_a_job_of_a_robot_holds_names_and_nothing_else(lab):
    # Given / When a robot is queued
    enqueue_robot(lab.connection, "a1b2c3", "r07")
    job = RobotJob.fetch("robot-a1b2c3-r07", connection=lab.connection, serializer=JSONSerializer)
    # Then its job holds two names, never times out, leaves no result, and is always tried again
    assert (job.id, list(job.args), job.kwargs) == ("robot-a1b2c3-r07", ["a1b2c3", "r07"], {})
    assert (job.timeout, job.result_ttl, job.retries_left, job.retry_intervals) == (-1, 0, ALWAYS, [0])
    with pytest.raises(ValueError, match="letters"):
        enqueue_robot(lab.connection, "a:b", "r07")


# Deaths are told before the job is queued again.


@pytest.mark.parametrize("how", ["signal", "exit"])
def test_the_death_of_a_horse_is_on_record_when_its_job_is_queued_again(lab, how):
    # Given a robot of a dealt run
    deal(lab)
    horse = lab.run_robot(beating_then_crashing)
    # When it dies
    if how == "signal":
        os.kill(horse, signal.SIGKILL)
    else:
        lab.connection.set("test:crash", 1)
    lab.await_life(2)
    # Then its next life finds the death in the fleet log
    assert lab.fleet_rows()[0] == Death(lab.fleet_rows()[0].entry, "r00", "r00", 0, how, -9 if how == "signal" else 1)


def test_an_end_in_order_is_no_death(lab):
    # Given a robot of a dealt run
    deal(lab)
    lab.run_robot()
    # When its RQ worker is told to end, and its job handed back
    lab.fleet.signal("rq:r00", signal.SIGTERM)
    assert lab.await_death("rq:r00").status == 0
    # Then no process died
    assert lab.fleet_rows() == []


def test_an_rq_worker_that_is_reported_to_end_does_not_wait_for_a_horse_that_is_stuck(lab):
    # Given a robot that runs, and does not turn any more
    deal(lab)
    horse = lab.run_robot()
    os.kill(horse, signal.SIGSTOP)
    # When its RQ worker is told to end
    lab.fleet.signal("rq:r00", signal.SIGTERM)
    # Then it does, and the job waits
    assert lab.await_death("rq:r00").status == 0
    assert lab.queued() == ["robot-t-r00"]
    assert not is_alive(horse)
    # and the end of a life that had to be killed, and could say nothing more, is on record
    assert lab.fleet_rows() == [Death(lab.fleet_rows()[0].entry, "r00", "r00", 0, "signal", -9)]
