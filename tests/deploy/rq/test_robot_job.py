"""A real robot in a real horse: how its life begins and ends, and what RQ is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from broker.control_entries import PlanChange
from broker.ports.run import RunSpec
from broker.streams import keys
from broker.streams.keys import Keys
from broker.streams.run.control import StreamRunControl
from broker.streams.run.fleet_log import StreamFleetLog
from deploy.rq.job import RECALL_S
from deploy.rq.leases import HEARTBEAT_S
from deploy.rq.queue import enqueue_robot
from deploy.rq.worker import GRACE_S
from robots.journal import Header, encode_entry
from robots.restart_budget import FENCED
from robots.robot import FINISH_US
from robots.run.deal import Terms, encode_terms
from robots.supervision import RestartPolicy
from tests.support.checkout import ROOT
from tests.support.rq_lab import births, deal
from tests.support.waiting import await_true, is_alive

pytestmark = [pytest.mark.live, pytest.mark.skipif(sys.platform != "linux", reason="live runs are for Linux")]


def reported(lab):
    """All events of the run, as they stand in its stream."""
    return b"".join(fields.get(keys.EVENTS, b"") for _, fields in lab.connection.xrange(Keys("t").events))


def deal_and_bear(lab):
    """The same with one robot of it, r00, born by the RQ worker rq:r00."""
    run_control = deal(lab)
    lab.start_worker("rq:r00")
    enqueue_robot(lab.connection, "t", "r00")
    await_true(lambda: births(lab, "r00") == 1, what="the birth")
    return run_control


def test_a_robot_is_born_in_a_horse_and_done_at_the_order_stop(lab):
    # Given a dealt run whose robots run
    run_control = deal(lab)
    for number in range(2):
        lab.start_worker(f"rq:r{number:02d}")
        enqueue_robot(lab.connection, "t", f"r{number:02d}")
    await_true(lambda: births(lab, "r00") == births(lab, "r01") == 1, what="the births")
    # When the order stop is given
    run_control.order("stop", b"limit")
    # Then both jobs are done and gone, and the RQ workers wait for others
    await_true(lambda: not lab.connection.keys("rq:job:*"), what="the jobs' end")
    assert lab.queued() == []
    assert lab.fleet.poll(0) == []
    # and the robots' last events were stored
    assert b"robot.left" in reported(lab)


def test_a_job_is_done_although_rqs_details_of_its_executions_ran_out(lab):
    # Given a robot that runs, whose execution's details were lost but for what a heartbeat writes (as after an outage),
    run_control = deal_and_bear(lab)
    [details] = lab.connection.keys("rq:execution:*")
    lab.connection.delete(details)
    # and a listed execution of which nothing else is left
    lab.connection.zadd("rq:executions:robot-t-r00", {"other": time.time() + 60})
    # When the order stop is given
    run_control.order("stop", b"limit")
    # Then the job is done and gone, and its RQ worker waits for others
    await_true(lambda: not lab.connection.keys("rq:job:*"), what="the job's end")
    await_true(lambda: lab.connection.hget("rq:worker:rq-r00", "state") == b"idle", what="idleness")
    assert births(lab, "r00") == 1
    assert lab.queued() == []
    assert lab.fleet.poll(0) == []


def test_a_robot_reported_by_sigterm_waits_in_the_queue_and_lives_again_elsewhere(lab):
    # Given a robot that runs
    deal_and_bear(lab)
    # When its RQ worker is told to end
    lab.fleet.signal("rq:r00", signal.SIGTERM)
    # Then it says that it left, its job waits, and no process died
    assert lab.await_death("rq:r00").status == 0
    assert b"recalled" in reported(lab)
    assert lab.queued() == ["robot-t-r00"]
    assert lab.fleet_rows() == []
    # and it is born a second time where an RQ worker is free
    lab.start_worker("rq:r01")
    await_true(lambda: births(lab, "r00") == 2, what="the second birth")


def test_a_robot_whose_own_process_is_reported_to_end_lives_again_at_once(lab):
    # Given a robot that gossips
    run_control = deal_and_bear(lab)
    run_control.order("go")
    horse = horse_of(lab)
    # When its process is told to end, again and again until it does
    while is_alive(horse):
        with suppress(ProcessLookupError):
            os.kill(horse, signal.SIGTERM)
    # Then it leaves in order, and lives again in another process of the same RQ worker
    await_true(lambda: births(lab, "r00") == 2, what="the second birth")
    assert b"recalled" in reported(lab)
    assert lab.fleet_rows() == []
    assert lab.fleet.poll(0) == []


def test_a_process_that_is_reported_to_end_as_soon_as_it_is_there_is_nobodys_death(lab):
    # Given an RQ worker that has just forked a horse for a robot
    deal(lab)
    lab.start_worker()
    enqueue_robot(lab.connection, "t", "r00")
    [horse] = await_true(lambda: horses_of(lab), what="the horse")
    # When that is told to end
    os.kill(horse, signal.SIGTERM)
    # Then it does, in order, and the robot is born in another one
    await_true(lambda: births(lab, "r00") == 1, what="the birth")
    assert horse_of(lab) != horse
    assert lab.fleet_rows() == []
    assert lab.fleet.poll(0) == []


def test_a_robot_that_is_reported_to_end_before_it_can_be_born_does_not_wait_for_that(lab):
    # Given the job of a robot that waits for a deal, for ever
    orders = Keys("t").orders
    lab.connection.xdel(orders, lab.connection.xadd(orders, {"order": "dealt"}))
    enqueue_robot(lab.connection, "t", "r00")
    lab.start_worker()
    await_true(lambda: any(client["cmd"] == "xread" for client in lab.connection.client_list()), what="its wait")
    # When its process is told to end, then it does, and the job is run by another one
    horse = horse_of(lab)
    os.kill(horse, signal.SIGTERM)
    await_true(lambda: not is_alive(horse), what="its end")
    await_true(lambda: horses_of(lab), what="its successor")


def test_each_process_has_less_time_to_end_than_the_process_that_would_end_it():
    assert FINISH_US / 1e6 < RECALL_S < GRACE_S < GRACE_S + HEARTBEAT_S < 2


def test_a_robot_without_a_journal_is_not_tried_again(lab):
    # Given a dealt run, and the journal of one robot gone
    deal(lab)
    lab.connection.delete(Keys("t").journal("r00"))
    # When its job runs
    lab.start_worker()
    enqueue_robot(lab.connection, "t", "r00")
    # Then it is over, and the loss was told
    await_true(lambda: not lab.connection.exists("rq:job:robot-t-r00"), what="the job's end")
    assert lab.queued() == []
    assert b"evidence.lost" in reported(lab)


def test_a_robot_of_a_run_that_is_gone_is_not_tried_again(lab):
    # Given the job of a robot whose run was never dealt, or was forgotten
    enqueue_robot(lab.connection, "gone", "r00")
    # When an RQ worker gets it
    lab.start_worker()
    # Then it is over at once, and nothing was made for it
    await_true(lambda: not lab.connection.exists("rq:job:robot-gone-r00"), what="the job's end")
    assert lab.queued() == []
    assert lab.connection.keys("lab:*") == []
    assert lab.fleet.poll(0) == []


@pytest.mark.parametrize(
    "terms",
    [
        b"of another version",
        b"\x91\xa2\xff\xff",
        encode_terms(Terms(robots=2, shards=0, seed=7, tick_us=1, quiet_period_us=0, median_delay_us=0)),
        encode_terms(Terms(2, 1, seed=7, tick_us=1, quiet_period_us=0, median_delay_us=0, exhibit="unknown")),
    ],
)
def test_a_robot_of_a_run_that_another_version_dealt_is_not_tried_again(lab, terms):
    # Given a run whose robots were told what cannot be read here
    StreamRunControl(lab.connection, "t").deal(RunSpec("t", 1, PlanChange(()), {"r00": [b"header"]}, terms))
    # When the job of one runs
    enqueue_robot(lab.connection, "t", "r00")
    lab.start_worker()
    # Then it is over, no process died of it, and one line says why
    await_true(lambda: not lab.connection.exists("rq:job:robot-t-r00"), what="the job's end")
    assert lab.queued() == []
    assert lab.fleet_rows() == []
    [line] = (lab.folder / "rq:r00.log").read_text().splitlines()
    assert "r00 of run t" in line
    assert "another version" in line


def test_a_robot_that_is_fenced_ends_its_rq_worker(lab):
    # Given a robot that gossips
    run_control = deal_and_bear(lab)
    # When a later life stands in its journal, and it has something to append
    lab.connection.xadd(Keys("t").journal("r00"), {"entry": encode_entry(Header("dealt")), "nonce": "other"}, id="9-1")
    lab.fleet.signal("rq:r00", signal.SIGSTOP)
    os.kill(horse_of(lab), signal.SIGKILL)
    lab.connection.xadd(Keys("t").birth("r00"), {"nonce": "other"}, id="99-1")
    lab.fleet.signal("rq:r00", signal.SIGCONT)
    # Then the next life is refused at birth, the RQ worker ends, and nothing is queued
    assert lab.await_death("rq:r00").status == FENCED
    assert lab.queued() == []
    run_control.order("stop")


def horse_of(lab):
    [horse] = horses_of(lab)
    return horse


def horses_of(lab):
    pid = lab.fleet.living["rq:r00"]
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_signal_that_interrupts_an_rq_worker_anywhere_does_not_break_it(lab):
    # Given an RQ worker's connection, and a signal handler that raises at any moment, as RQ's do
    program = f"""
import signal, time
from broker.streams.connection import connect
from deploy.rq.worker import RobotWorker

class Interrupted(Exception): pass

def interrupt(*_): raise Interrupted

connection = connect({lab.server.url!r})
RobotWorker(["robots"], connection=connection)
pack = connection.connection_pool.make_connection().pack_command
signal.signal(signal.SIGALRM, interrupt)
end = time.monotonic() + 0.5
while time.monotonic() < end:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.00005)
        while True:
            pack("EXPIRE", "key", 123456789)
    except Interrupted:
        pass
print("alive")
"""
    # When commands are packed all the while
    done = subprocess.run([sys.executable, "-c", program], check=False, cwd=ROOT, capture_output=True, text=True)

    # Then the process lives to tell it
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


def test_a_robot_whose_budget_of_deaths_is_spent_is_not_born_again(lab):
    # Given a robot that died too often without anybody's doing
    deal(lab)
    log = StreamFleetLog(lab.connection, "t")
    for _ in range(RestartPolicy().max_restarts + 1):
        log.death("r00", "r00", 0, "exit", 1)
    # When its job is run again
    enqueue_robot(lab.connection, "t", "r00")
    lab.start_worker()
    # Then it is done, though it was not born, and that is told
    await_true(lambda: not lab.connection.exists("rq:job:robot-t-r00"), what="the job's end")
    assert births(lab, "r00") == 0
    assert lab.queued() == []
    assert b"worker.gave.up" in reported(lab)


def test_a_robot_that_was_killed_lives_again_with_all_it_knew(lab):
    # Given a robot that runs
    run_control = deal_and_bear(lab)
    known = lab.evidence.collect().journals["r00"]
    # When its horse is killed, as an injection
    StreamFleetLog(lab.connection, "t").injection("kill", "r00", "r00")
    os.kill(horse_of(lab), signal.SIGKILL)
    await_true(lambda: births(lab, "r00") == 2, what="the second birth")
    # Then its journal goes on where it ended, the death of life 1 is on record, and life 2 tells how long it took
    assert lab.evidence.collect().journals["r00"][: len(known)] == known
    [_, death] = lab.fleet_rows()
    assert (death.robot, death.incarnation, death.how, death.status) == ("r00", 1, "signal", -9)
    await_true(lambda: b"robot.recovered" in reported(lab), what="the word")
    run_control.order("stop")
