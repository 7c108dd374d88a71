"""A server with several runs, and runs that get more RQ workers and lose some: real processes, ended and killed."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from tests.live.cluster import Cluster, begin
from tests.support.live_place import END_S, LIVE, UNTIL_STOPPED, not_held
from tests.support.waiting import await_true

pytestmark = LIVE


def listed(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """What `robots runs` shows of the runs of the server."""
    code, out, err = cluster.do("runs", "--json")
    assert code == 0, err
    return {run["run"]: run for run in json.loads(out)["runs"]}


def await_served(cluster: Cluster, *runs: str) -> dict[str, dict[str, Any]]:
    """Until these runs have begun, and each has its supervisor, its relay and its robots; what is shown of them."""

    def served() -> dict[str, dict[str, Any]]:
        shown = listed(cluster)
        are_well = (
            (shown[run]["state"], shown[run]["supervisor"]["state"], shown[run]["relays"], shown[run]["lacks"])
            == ("live", "running", 1, 0)
            for run in runs
        )
        return shown if all(are_well) else {}

    return await_true(served, seconds=END_S, what="supervisors, relays and robots of all runs")


@pytest.mark.long
def test_those_who_stay_serve_all_runs_of_a_server_at_once_and_the_end_of_one_ends_no_other(cluster: Cluster) -> None:
    # Given those who stay, and two runs of which the newer is closed
    stay = [cluster.start("supervise", "--stay"), cluster.start("relay", "--stay")]
    older = cluster.deal("-n", "2", *UNTIL_STOPPED)
    newer = cluster.deal("-n", "2", "--closed", *UNTIL_STOPPED)
    stay.append(cluster.start("worker", "-n", "4"))
    # Then both are led and relayed at the same time
    before = await_served(cluster, older, newer)
    pids = [before[run]["supervisor"]["pid"] for run in (older, newer)]
    assert len({*pids, stay[0].pid}) == 3

    # When the leader of one is killed / Then it has another one, and the other run the same as before
    os.kill(pids[1], signal.SIGKILL)
    await_true(lambda: listed(cluster)[newer]["supervisor"]["pid"] != pids[1], what="another leader")
    after = await_served(cluster, older, newer)
    assert after[older]["supervisor"]["pid"] == pids[0]

    # When an RQ worker more comes / Then a robot joins the run that is open
    cluster.start("worker")
    await_true(lambda: listed(cluster)[older]["robots"] == 3, what="a robot that joins")
    await_served(cluster, older, newer)

    # When one run is stopped and judged / Then the other goes on, and is judged later
    for run in (newer, older):
        assert listed(cluster)[run]["state"] == "live"
        cluster.run = run
        cluster.stop()
        code, result = cluster.verify(run)
        assert code == 0, not_held(result)
        joined = result["whole_run"]["joined"]
        assert joined[:1] == ["r02"] if run == older else not joined  # later also for RQ workers of the run that ended
    assert [process.poll() for process in stay] == [None, None, None]

    # And those who stay end with their children when they are told
    for process in stay:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(timeout=END_S) for process in stay] == [0, 0, 0]
    await_true(lambda: not [line for line in cluster.place.processes().values() if "--stay" in line], what="no child")


def test_a_run_that_loses_rq_workers_in_order_goes_on_when_others_come(cluster: Cluster) -> None:
    # Given a run whose robots are run by two hosts
    parts = begin(cluster, 2, "-n", "3", "--closed", *UNTIL_STOPPED)
    one = cluster.start("worker")
    cluster.await_states(r00="running", r01="running", r02="running")

    # When one host ends its RQ workers in order
    parts["worker"].send_signal(signal.SIGTERM)
    assert parts["worker"].wait(timeout=END_S) == 0

    # Then it prints which robots it handed back, and these wait
    waiting = [robot for robot, seen in cluster.robots().items() if seen["state"] == "waiting"]
    assert len(waiting) == 2
    line = cluster.received(parts["worker"]).splitlines()[-1]
    assert line.startswith(f"run {cluster.run}: ")
    assert line.endswith(" handed back, waiting for another RQ worker")
    assert one.poll() is None

    # When another host comes / Then they go on, nothing joins, and all promises hold
    cluster.start("worker", "-n", "3")
    cluster.await_states(r00="running", r01="running", r02="running")
    cluster.stop()
    code, result = cluster.verify()
    assert code == 0, not_held(result)
    assert (result["whole_run"]["joined"], result["whole_run"]["lives"]) == ([], dict.fromkeys(waiting, 2))
