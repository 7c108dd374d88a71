"""A run without a parent whose supervisor dies together with what it should have looked after: the next one finds the
lost robots, keeps RQ workers for them, and the verdict counts the time without a leader as what it was.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from broker.ports.robot import LeadershipGap
from broker.streams.run.fleet_log import StreamFleetLog
from broker.streams.run.supervisor_lease import RENEW_S
from tests.live.cluster import Cluster, begin
from tests.support.live_place import LIVE, UNTIL_STOPPED, not_held
from tests.support.waiting import await_true

pytestmark = LIVE

UNTIL_HEALED = ("--loss", "1", "--for", "1s", "--limit", "10m")
"""A run that can only end once its network lets something through."""

LATE_S = 1  # the renewal of a lease on a busy machine


def kill(*processes: subprocess.Popen[bytes]) -> None:
    for process in processes:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def horse_of(cluster: Cluster, robot: str) -> int:
    return int(cluster.robots()[robot]["pid"])


@pytest.mark.long
def test_a_robot_that_is_lost_just_before_its_supervisor_is_found_by_the_next_one(cluster: Cluster) -> None:
    # Given a run under two supervisors, whose robots run on two hosts
    parts = begin(cluster, 1, "-n", "3", *UNTIL_STOPPED)
    cluster.start("worker", "-n", "2")
    cluster.await_states(r00="running", r01="running", r02="running")
    cluster.start("supervise")
    robot = robot_of(cluster, parts["worker"])

    # When a robot and its RQ worker are killed, another one comes, and the leader dies just before it would act
    os.kill(horse_of(cluster, robot), signal.SIGKILL)
    kill(parts["worker"])
    cluster.start("worker")
    lost_s = time.monotonic()
    await_true(lambda: time.monotonic() - lost_s > 2.6, what="the last moment of the lease")
    killed_s = time.monotonic()
    kill(parts["supervise"])

    # Then the robot lives again, no promise is broken, and the time without a leader is on record
    [gap] = await_true(lambda: gaps(cluster), what="the gap")
    seen_s = time.monotonic()
    await_true(lambda: cluster.lives(robot) == 2, what="the next life")
    cluster.stop()
    code, result = cluster.verify()
    assert code == 0, not_held(result)
    assert result["whole_run"]["lives"] == {robot: 2}
    assert gaps(cluster) == [gap]
    assert 2 < gap.away_us / 1e6 < seen_s - killed_s + RENEW_S + LATE_S


def gaps(cluster: Cluster) -> list[LeadershipGap]:
    return [row for row in StreamFleetLog(cluster.client, cluster.run).rows() if isinstance(row, LeadershipGap)]


def robot_of(cluster: Cluster, worker: subprocess.Popen[bytes]) -> str:
    """The robot that runs below a process."""

    def found() -> str:
        pids = {robot["pid"]: name for name, robot in cluster.robots().items() if robot["state"] == "running"}
        return next((pids[pid] for pid in descendants(worker.pid) if pid in pids), "")

    return await_true(found, what="a robot below that process")


def descendants(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    children = [int(child) for child in path.read_text().split()] if path.exists() else []
    return children + [below for child in children for below in descendants(child)]


@pytest.mark.long
def test_supervisor_and_rq_workers_that_start_anew_together_go_on_with_the_same_robots(cluster: Cluster) -> None:
    # Given a run in which nothing comes through, so that its robots hold parts that no other one has
    parts = begin(cluster, 4, "-n", "4", *UNTIL_HEALED)
    cluster.await_states(r00="running", r01="running", r02="running", r03="running")

    # When supervisor and RQ workers are killed at once, and started again
    kill(parts["supervise"], parts["worker"])
    cluster.start("supervise")
    cluster.start("worker", "-n", "4")

    # Then the robots get the RQ workers, and no robot joins in their place
    await_true(lambda: all(cluster.lives(f"r0{number}") == 2 for number in range(4)), what="the next lives")
    assert cluster.do("faults", "heal")[0] == 0
    code, result = cluster.verify()
    assert code == 0, not_held(result)
    assert (result["ended"], result["whole_run"]["joined"]) == ("complete", [])
    assert set(result["whole_run"]["lives"]) == {"r00", "r01", "r02", "r03"}


@pytest.mark.long
def test_robots_that_hold_only_learnt_parts_give_way_to_those_that_hold_the_secret(cluster: Cluster) -> None:
    # Given robots that hold the secret on one host, joined ones on another, and a network that lets nothing through
    parts = begin(cluster, 2, "-n", "2", *UNTIL_HEALED)
    cluster.await_states(r00="running", r01="running")
    cluster.start("worker", "-n", "2")
    cluster.await_states(r02="running", r03="running")

    # When the first host dies
    kill(parts["worker"])

    # Then its robots live on in the place of the joined ones
    cluster.await_states(r00="running", r01="running", r02="waiting", r03="waiting")
    # and when there is a host for these, too, and the network lets everything through, all of them know the secret
    cluster.start("worker", "-n", "2")
    cluster.await_states(r02="running", r03="running")
    assert cluster.do("faults", "heal")[0] == 0
    code, result = cluster.verify()
    assert code == 0, not_held(result)
    assert len(cluster.events("robot.yielded")) >= 2
