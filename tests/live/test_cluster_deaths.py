"""A run without a parent whose supervisors, hosts or server die: others go on with it."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import pytest

from broker.streams.keys import Keys
from broker.streams.run.evidence import StreamEvidenceReader
from tests.live.cluster import Cluster, begin, not_held
from tests.support.waiting import await_true, is_alive

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="live runs are for Linux"),
]


def test_a_supervisor_that_is_killed_is_followed_by_one_that_stands_by(cluster: Cluster) -> None:
    # Given a run with a dated fault, injections that recur, and a pause that goes on, under two supervisors; and a
    # seed by which r01 is not killed before its pause, and so is there
    chaos = ("kill robot every 1s", "pause r01 @1500ms+3s", "kill supervisor @2500ms")
    plan = (
        "--fault",
        "partition hold r00|r01 @1s+5s",
        *(word for injection in chaos for word in ("--chaos", injection)),
    )
    parts = begin(cluster, 3, "-n", "3", "--for", "8s", *plan)
    standby = cluster.start("supervise")

    # When the first one kills itself, as the plan says
    [died] = [await_true(lambda: [p for p in (parts["supervise"], standby) if p.poll() is not None], 15)]
    assert died[0].returncode == -signal.SIGKILL

    # Then the other one takes over: injections go on, none is left out or done twice, a pause ends, and so does the run
    code, result = cluster.verify()
    assert code == 0, not_held(result)
    injections = cluster.injections()
    assert injections.count(("kill supervisor", "supervisor")) == 1
    before = [text for text, _ in injections[: injections.index(("kill supervisor", "supervisor"))]]
    after = [text for text, _ in injections[len(before) + 1 :]]
    failed = cluster.events("injection.failed")  # no robot lived just then
    in_vain = [f"{event['verb']} {event['target']}" for event in failed]
    assert [*before, *after, *in_vain].count("kill robot") == 8
    assert "kill robot" in before
    assert "kill robot" in after
    assert ("pause r01" in before, after.count("resume r01")) == (True, 1)
    assert next(fault["injected"] for fault in result["whole_run"]["faults"] if fault["name"] == "partition") > 0
    survivor = standby if died[0] is parts["supervise"] else parts["supervise"]
    assert survivor.wait(timeout=10) == 0


def test_a_host_that_dies_is_missed_within_seconds_and_its_robots_live_elsewhere(cluster: Cluster) -> None:
    # Given robots on one host, and idle RQ workers on another, for which new robots have joined
    parts = begin(cluster, 2, "-n", "2", "--for", "20s")
    before = cluster.await_states(r00="running", r01="running")
    other = cluster.start("worker", "-n", "2")
    cluster.await_states(r02="running", r03="running")

    # When the first host dies
    os.kill(parts["worker"].pid, signal.SIGKILL)
    gone_s = time.monotonic()

    # Then everything on it is dead, and its robots wait: no RQ worker is free
    await_true(lambda: not any(is_alive(robot["pid"]) for robot in before.values()), 2, "the horses' deaths")
    cluster.await_states(8, r00="waiting", r01="waiting")
    assert time.monotonic() - gone_s < 8
    # until somebody comes
    third = cluster.start("worker", "-n", "2")
    cluster.await_states(r00="running", r01="running")
    assert (cluster.lives("r00"), cluster.lives("r01")) == (2, 2)

    # And when one goes in order, its robots are handed back at once
    for process in (other, third):
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=4) == 0
    assert {robot["state"] for robot in cluster.robots().values()} == {"waiting"}
    cluster.start("worker", "-n", "4")
    code, result = cluster.verify()
    assert code == 0, not_held(result)
    assert result["whole_run"]["joined"] == ["r02", "r03"]
    assert result["whole_run"]["recoveries"]["count"] == 2


def test_a_server_that_is_away_when_the_run_would_end_is_waited_for(cluster: Cluster) -> None:
    # Given a run that is to end after four seconds, and somebody who waits for that
    parts = begin(cluster, 2, "-n", "2", "--for", "4s")
    waiting = cluster.start("verify", "--wait", "--json")
    assert any(b"waiting for its end" in line for line in waiting.stderr)  # it has found the run
    await_true(lambda: StreamEvidenceReader(cluster.client, cluster.run).collect().writes, 10, "the secret")

    # When the server is killed, and comes back with all that it held when the time is over
    os.kill(cluster.server.pid, signal.SIGKILL)
    cluster.server._process.wait(5)
    begun_s = time.monotonic()
    await_true(lambda: time.monotonic() - begun_s > 5, 6)
    cluster.server.start_again()

    # Then the run ends in order, and no robot has died of it
    out, err = waiting.communicate(timeout=30)
    result = json.loads(out)
    assert waiting.returncode == 0, (not_held(result), err.decode())
    assert (result["ended"], result["whole_run"]["lives"]) == ("complete", {})
    assert parts["supervise"].wait(timeout=10) == 0


def test_a_server_that_comes_back_empty_ends_the_run_without_a_second_write(cluster: Cluster) -> None:
    # Given a run in which the secret is written, and somebody who waits for its end
    parts = begin(cluster, 2, "-n", "2", "--for", "30s")
    await_true(lambda: StreamEvidenceReader(cluster.client, cluster.run).collect().writes, 10, "the secret")
    waiting = cluster.start("verify", "--wait", "--json")
    assert waiting.stderr is not None
    assert any(b"waiting for its end" in line for line in waiting.stderr)

    # When the server loses all that it held
    cluster.client.flushall()

    # Then its supervisor says so, and nothing is written again, nor called proven
    assert parts["supervise"].wait(timeout=10) == 4
    out, _ = waiting.communicate(timeout=15)
    result = json.loads(out)
    assert (waiting.returncode, result["verdict"], result["ended"]) == (3, "UNPROVEN", "lost")
    assert not cluster.client.exists(Keys(cluster.run).register, Keys(cluster.run).orders)
