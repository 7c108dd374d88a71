"""A run without a parent whose supervisors, hosts or server die: others go on with it."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from broker.ports.robot import Death
from broker.relay.core import parse_id
from broker.streams.keys import Keys
from broker.streams.run.evidence import StreamEvidenceReader
from broker.streams.run.fleet_log import StreamFleetLog
from tests.live.cluster import Cluster, begin
from tests.support.live_place import END_S, LIVE, UNTIL_STOPPED, not_held
from tests.support.waiting import await_true, is_alive

pytestmark = LIVE

LENGTH_S = 8  # of a run that is to end while its server is away


def test_a_supervisor_that_is_killed_is_followed_by_one_that_stands_by(cluster: Cluster) -> None:
    # Given a run with a dated fault, injections that recur, and a pause that goes on, under two supervisors; and a
    # seed by which r01 is not killed before its pause, and so is there
    chaos = ("kill robot every 1s", "pause r01 @1500ms+3s", "kill supervisor @2500ms")
    plan = (
        "--fault",
        "partition hold r00|r01 @1s+5s",
        *(word for injection in chaos for word in ("--chaos", injection)),
    )
    standby = cluster.start("supervise")
    parts = begin(cluster, 3, "-n", "3", "--for", "8s", *plan)

    # When the first one kills itself, as the plan says
    [died] = [await_true(lambda: [p for p in (parts["supervise"], standby) if p.poll() is not None])]
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
    assert survivor.wait(timeout=END_S) == 0


@pytest.mark.long
def test_a_host_that_dies_is_missed_within_seconds_and_its_robots_live_elsewhere(cluster: Cluster) -> None:
    # Given robots on one host, and idle RQ workers on another, for which new robots have joined
    parts = begin(cluster, 2, "-n", "2", *UNTIL_STOPPED)
    before = cluster.await_states(r00="running", r01="running")
    other = cluster.start("worker", "-n", "2")
    cluster.await_states(r02="running", r03="running")

    # When the first host dies
    os.kill(parts["worker"].pid, signal.SIGKILL)
    gone_ms = time.time_ns() // 1_000_000

    # Then everything on it is dead, and its robots wait: no RQ worker is free
    await_true(lambda: not any(is_alive(robot["pid"]) for robot in before.values()), what="the horses' deaths")
    cluster.await_states(r00="waiting", r01="waiting")
    lost = lost_robots(cluster)
    assert sorted(robot for robot, _ in lost) == ["r00", "r01"]
    assert max(at_ms for _, at_ms in lost) - gone_ms < 8_000
    # until somebody comes
    third = cluster.start("worker", "-n", "2")
    cluster.await_states(r00="running", r01="running")
    assert (cluster.lives("r00"), cluster.lives("r01")) == (2, 2)

    # And when one goes in order, its robots are handed back at once
    for process in (other, third):
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=END_S) == 0
    assert {robot["state"] for robot in cluster.robots().values()} == {"waiting"}
    assert lost_robots(cluster) == lost
    cluster.start("worker", "-n", "4")
    cluster.await_states(r00="running", r01="running", r02="running", r03="running")
    cluster.stop()
    code, result = cluster.verify()
    assert code == 0, not_held(result)
    assert result["whole_run"]["joined"] == ["r02", "r03"]
    assert result["whole_run"]["recoveries"]["count"] == 2


def lost_robots(cluster: Cluster) -> list[tuple[str, int]]:
    """The robots whose lease was not renewed, and when that was found (server's clock, in milliseconds)."""
    rows = StreamFleetLog(cluster.client, cluster.run).rows()
    return [(row.robot, parse_id(row.entry)[0]) for row in rows if isinstance(row, Death) and row.how == "lease"]


@pytest.mark.long
def test_a_server_that_is_away_when_the_run_would_end_is_waited_for(cluster: Cluster) -> None:
    # Given a run that is to end at its time, and somebody who waits for that
    waiting = cluster.start("verify", "--wait", "--json")
    parts = begin(cluster, 2, "-n", "2", "--for", f"{LENGTH_S}s")
    begun_s = time.monotonic()
    assert any(b"waiting for its end" in line for line in waiting.stderr)  # it has found the run
    await_true(lambda: StreamEvidenceReader(cluster.client, cluster.run).collect().writes, what="the secret")

    # When the server is killed, and comes back with all that it held when the time is over
    os.kill(cluster.server.pid, signal.SIGKILL)
    cluster.server._process.wait(END_S)
    assert time.monotonic() - begun_s < LENGTH_S, "the machine is too slow for this"
    await_true(lambda: time.monotonic() - begun_s > LENGTH_S + 1)
    cluster.server.start_again()

    # Then the run ends in order, and no robot has died of it
    out, err = waiting.communicate(timeout=END_S)
    result = json.loads(out)
    assert waiting.returncode == 0, (not_held(result), err.decode())
    assert (result["ended"], result["whole_run"]["lives"]) == ("complete", {})
    assert parts["supervise"].wait(timeout=END_S) == 0


def test_a_server_that_comes_back_empty_ends_the_run_without_a_second_write(cluster: Cluster) -> None:
    # Given a run in which the secret is written, and somebody who waits for its end
    parts = begin(cluster, 2, "-n", "2", *UNTIL_STOPPED)
    await_true(lambda: StreamEvidenceReader(cluster.client, cluster.run).collect().writes, what="the secret")
    waiting = cluster.start("verify", "--wait", "--json")
    assert waiting.stderr is not None
    assert any(b"waiting for its end" in line for line in waiting.stderr)

    # When the server loses all that it held
    cluster.client.flushall()

    # Then its supervisor says so, and nothing is written again, nor called proven
    assert parts["supervise"].wait(timeout=END_S) == 4
    out, _ = waiting.communicate(timeout=END_S)
    result = json.loads(out)
    assert (waiting.returncode, result["verdict"], result["ended"]) == (3, "UNPROVEN", "lost")
    assert not cluster.client.exists(Keys(cluster.run).register, Keys(cluster.run).orders)
