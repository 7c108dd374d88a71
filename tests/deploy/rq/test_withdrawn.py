"""A job that is withdrawn because its run is removed, at any moment: RQ makes nothing of it anew."""

from __future__ import annotations

import sys

import pytest

from broker.errors import RunGone
from deploy.rq.queue import enqueue_robot, enqueue_while, withdraw_robot
from deploy.rq.worker import RobotWorker
from robots.restart_budget import FENCED
from tests.support.rq_lab import Lab, beating
from tests.support.waiting import await_true

pytestmark = [pytest.mark.live, pytest.mark.skipif(sys.platform != "linux", reason="live runs are for Linux")]

MOMENTS = {
    "taken": "prepare_execution",
    "forked": "perform_job",
    "claimed": "prepare_job_execution",
    "prepared": "increment_total_working_time",
}


def of_robots(lab: Lab) -> set[str]:
    return {key.decode() for key in lab.connection.scan_iter() if b"robot-" in key}


@pytest.mark.parametrize("method", MOMENTS.values(), ids=MOMENTS.keys())
def test_a_job_that_is_withdrawn_while_it_is_taken_leaves_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    # Given an RQ worker whose job is withdrawn at a certain step, and a job that ends at once
    original = getattr(RobotWorker, method)

    def withdraw_first(self, *args, **options):
        withdraw_robot(lab.connection, "t", "r00")
        lab.connection.set("test:withdrawn", 1)
        return original(self, *args, **options)

    monkeypatch.setattr(RobotWorker, method, withdraw_first)
    lab.robot_is(lambda _run, _robot: None)
    # When it takes the job
    enqueue_robot(lab.connection, "t", "r00")
    lab.start_worker()
    await_true(lambda: lab.connection.exists("test:withdrawn"), what="the withdrawal")
    # Then nothing stays of the job, whether it was fenced or goes on to wait for the next one
    await_true(lambda: not of_robots(lab), what="the end of the job")
    assert lab.leases() == []
    assert lab.queued() == []
    for death in lab.fleet.poll(0):
        assert death.status == FENCED


def test_a_job_that_runs_when_it_is_withdrawn_leaves_nothing(lab: Lab) -> None:
    # Given a robot that runs
    lab.run_robot(beating)
    # When its job is withdrawn
    withdraw_robot(lab.connection, "t", "r00")
    # Then its RQ worker ends, fenced, and nothing stays
    assert lab.await_death("rq:r00").status == FENCED
    await_true(lambda: not of_robots(lab), what="the end of the job")


def test_a_robot_that_is_queued_for_a_run_that_is_gone_is_withdrawn_again(lab: Lab) -> None:
    with pytest.raises(RunGone):
        enqueue_while(lab.connection, "t", "r00", lambda: False)
    assert list(lab.connection.scan_iter()) == []
    # And otherwise it is queued
    enqueue_while(lab.connection, "t", "r00", lambda: True)
    assert lab.queued() == ["robot-t-r00"]
