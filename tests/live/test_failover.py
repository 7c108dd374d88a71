"""A run on a master that Sentinels watch: what a failover costs, and what it may not hide."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import ResponseError

from broker.streams.retry import RETRY_S
from tests.live.cluster import Cluster, begin
from tests.live.conftest import end
from tests.support.collector import Sink, collecting
from tests.support.live_place import END_S, LIVE, UNTIL_STOPPED, Place, not_held
from tests.support.redis_nodes import Node, Sentinels
from tests.support.waiting import await_true

pytestmark = LIVE

LOST = "the run was lost: the server came back older: "
AGAIN_S = 20.0
"""The longest time in which no message may come to any robot. On an idle machine it is some 3.5 s."""


@pytest.fixture
def careful_sentinels(tmp_path: Path) -> Iterator[Sentinels]:
    """Their master takes writes only while it has a replica."""
    with Sentinels(tmp_path, "--min-replicas-to-write", "1", "--min-replicas-max-lag", "3") as sentinels:
        yield sentinels


@pytest.fixture
def careful(place: Place, careful_sentinels: Sentinels) -> Iterator[Cluster]:
    cluster = Cluster(place, careful_sentinels)
    yield cluster
    end(cluster)


@pytest.fixture
def sink() -> Iterator[Sink]:
    yield from collecting(Sink())


def replicated(cluster: Cluster, replica: Node) -> None:
    """Until the replica has what the run has brought forth up to now."""
    cluster.client.xadd("lab:mark", {"mark": "1"})
    with replica.client() as client:
        await_true(lambda: client.exists("lab:mark"), what="the replication")
    cluster.client.delete("lab:mark")


def fail_over(cluster: Cluster, sentinels: Sentinels) -> float:
    """Kill the master; when the Sentinels name the other node, the seconds that took."""
    master = sentinels.master()
    replicated(cluster, sentinels.other(master))
    began_s = time.monotonic()
    master.kill()
    sentinels.await_master(sentinels.other(master))
    return time.monotonic() - began_s


def await_messages(cluster: Cluster, is_over: Callable[[], bool] = lambda: False) -> None:
    """Until robots have received messages that were sent from now on, or the run is over."""
    known = cluster.client.xinfo_stream(f"lab:{{{cluster.run}.out0}}:out")["last-generated-id"]

    def go_on() -> bool:
        fates = cluster.client.xrevrange(f"lab:{{{cluster.run}.out0}}:fates", count=1)
        return is_over() or (bool(fates) and fates[0][0] > known)

    await_true(go_on, what="messages after the failover")


def longest_gap_s(rows: list[dict[str, Any]]) -> float:
    """The longest time between two messages that came to a robot."""
    came_us = sorted(row["wall_us"] for row in rows if row["event"]["name"] == "message.received")
    return max(later - sooner for sooner, later in pairwise(came_us)) / 1e6


def assert_honest(code: int, result: dict[str, Any]) -> None:
    """All HELD; or, where the master was killed with writes that no replica had, nothing is."""
    states = {promise["state"] for promise in result["promises"].values()}
    assert (code, states) in ((0, {"HELD"}), (3, {"UNPROVEN"})), not_held(result)
    assert code == 0 or all(promise["why"].startswith(LOST) for promise in result["promises"].values())


def test_a_run_goes_on_when_its_master_is_killed(on_sentinels: Cluster, sentinels: Sentinels) -> None:
    # Given a run over Sentinels, and a command that waits for its end
    cluster = on_sentinels
    parts = begin(cluster, 4, "-n", "4", "--loss", ".2", *UNTIL_STOPPED)
    parts["verify"] = cluster.start("verify", "--wait", "--json")
    cluster.await_states(r00="running", r01="running", r02="running", r03="running")
    pids = {robot["robot"]: robot["pid"] for robot in cluster.robots().values()}

    # When its master is killed, and another one takes its place
    took_s = fail_over(cluster, sentinels)
    await_messages(cluster)

    # Then no process has died of it, and the run ends in order
    assert {robot["robot"]: robot["pid"] for robot in cluster.robots().values()} == pids
    cluster.stop()
    out, err = parts.pop("verify").communicate(timeout=END_S)
    result = json.loads(out)
    assert_honest(3 if result["verdict"] == "UNPROVEN" else 0, result)
    assert result["whole_run"]["lives"] == {}, err.decode()
    for name in ("supervise", "relay"):
        assert parts[name].wait(timeout=END_S) == 0, (name, cluster.received(parts[name]))
    assert parts["worker"].poll() is None
    # and it stood still for hardly longer than the Sentinels took
    gap_s = longest_gap_s(cluster.place.events())
    print(f"failover {took_s:.2f} s, no message for {gap_s:.2f} s, verdict {result['verdict']}")
    assert gap_s < AGAIN_S


@pytest.mark.parametrize("lost_s", [pytest.param(0.02, marks=pytest.mark.long), 3.0])
def test_writes_that_were_lost_with_the_master_are_named(
    on_sentinels: Cluster, sentinels: Sentinels, lost_s: float
) -> None:
    # Given a run whose replica falls behind: what it has not got yet, it will never get
    cluster = on_sentinels
    parts = begin(cluster, 4, "-n", "4", "--loss", ".2", "--tick", "50ms", *UNTIL_STOPPED)
    master = sentinels.master()
    replica = sentinels.other(master)
    replicated(cluster, replica)
    replica.send(signal.SIGSTOP)
    with master.client() as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "replica")
    # When more was acknowledged, and the master dies
    await_messages(cluster)
    time.sleep(lost_s)
    master.kill()
    replica.send(signal.SIGCONT)
    sentinels.await_master(replica)

    # Then the supervisor ends the run as lost,
    assert parts["supervise"].wait(timeout=END_S) == 4
    assert f"the server lost run {cluster.run}, or a part of it" in cluster.received(parts["supervise"])
    # and nothing is HELD, nothing BROKEN, and the reasons name the server
    code, result = cluster.verify()
    whys = [promise["why"] for promise in result["promises"].values()]
    assert {promise["state"] for promise in result["promises"].values()} == {"UNPROVEN"}, not_held(result)
    assert (code, result["ended"]) == (3, "lost")
    assert all(why.startswith(LOST) for why in whys), whys


@pytest.mark.long
def test_who_is_attached_stays_so(on_sentinels: Cluster, sentinels: Sentinels, sink: Sink) -> None:
    # Given a run that is measured, traced and waited for
    cluster = on_sentinels
    begin(cluster, 3, "-n", "3", *UNTIL_STOPPED)
    verify = cluster.start("verify", "--wait", "--json")
    metrics = cluster.start("metrics", "--port", "0")
    cluster.place.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = sink.url
    follow = cluster.start("traces", "follow")
    await_line(verify, "waiting for its end")
    page = re.search(r"http://\S+", await_line(metrics, "metrics at"))
    assert page is not None
    await_true(lambda: sink.spans, what="a trace")

    # When another master takes over
    fail_over(cluster, sentinels)
    await_messages(cluster)
    traced, received = len(sink.spans), received_on(page[0])

    # Then each goes on, and a person sees the robots
    await_true(lambda: len(sink.spans) > traced, what="a trace after the failover")
    await_true(lambda: received_on(page[0]) > received, what="more messages in the metrics")
    cluster.await_states(r00="running", r01="running", r02="running")
    cluster.stop()
    out, _ = verify.communicate(timeout=END_S)
    assert_honest(verify.returncode, json.loads(out))
    assert [process.wait(timeout=END_S) for process in (metrics, follow)] == [0, 0]


def received_on(page: str) -> float:
    with urllib.request.urlopen(page, timeout=10) as reply:
        lines = reply.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("messaging_client_consumed_messages_total"))


def await_line(process: subprocess.Popen[bytes], words: str) -> str:
    assert process.stderr is not None
    return next(line.decode() for line in iter(process.stderr.readline, b"") if words in line.decode())


@pytest.mark.long
def test_a_master_that_comes_back_as_a_replica_takes_no_writes_of_the_run(
    on_sentinels: Cluster, sentinels: Sentinels
) -> None:
    # Given a run whose master stops, with all its connections, until another one has taken its place
    cluster = on_sentinels
    parts = begin(cluster, 3, "-n", "3", "--relays", "1", *UNTIL_STOPPED)
    cluster.await_states(r00="running", r01="running", r02="running")
    master = sentinels.master()
    replicated(cluster, sentinels.other(master))
    master.send(signal.SIGSTOP)
    sentinels.await_master(sentinels.other(master))

    # When it goes on, and is made a replica
    master.send(signal.SIGCONT)
    sentinels.await_replica(master)
    await_messages(cluster, lambda: parts["supervise"].poll() is not None)

    # Then the run goes on with the new one, unless the old one still took something; that is not hidden
    assert parts["relay"].poll() is None
    if parts["supervise"].poll() is None:
        cluster.stop()
    code, result = cluster.verify()
    assert_honest(code, result)
    assert parts["relay"].wait(timeout=END_S) == 0


@pytest.mark.long
def test_roles_that_change_cost_nothing_where_a_master_without_a_replica_takes_no_writes(
    careful: Cluster, careful_sentinels: Sentinels
) -> None:
    # Given a run, and two healthy servers that are to change their roles
    parts = begin(careful, 3, "-n", "3", *UNTIL_STOPPED)
    careful.await_states(r00="running", r01="running", r02="running")
    # When they do: the old master is left by its replica before it is told to follow it
    old = careful_sentinels.swap()
    careful_sentinels.await_replica(old)
    await_messages(careful)
    # Then no robot has died, and the run ends in order
    careful.stop()
    code, result = careful.verify()
    assert code == 0, not_held(result)
    assert result["whole_run"]["lives"] == {}
    assert parts["relay"].wait(timeout=END_S) == 0


@pytest.mark.long
def test_a_master_that_lost_its_replica_is_waited_for(careful: Cluster, careful_sentinels: Sentinels) -> None:
    # Given a run on a master that takes writes only with a replica
    begin(careful, 3, "-n", "3", *UNTIL_STOPPED)
    careful.await_states(r00="running", r01="running", r02="running")
    master = careful_sentinels.master()
    replica = careful_sentinels.other(master)
    # When the replica is killed, and comes back after longer than a lease, and than any port tries
    replica.kill()
    with master.client() as client:
        await_true(lambda: is_refused(client), what="a refused write")
    time.sleep(RETRY_S + 1)
    replica.start_again()
    await_messages(careful)
    # Then the run goes on: nothing was lost, and no robot died
    careful.stop()
    code, result = careful.verify()
    assert code == 0, not_held(result)
    assert result["whole_run"]["lives"] == {}


def is_refused(client: redis.Redis) -> bool:
    try:
        client.set("lab:mark", "1", ex=1)
    except ResponseError as error:
        return "NOREPLICAS" in str(error) or error.status_code == "NOREPLICAS"
    return False


def test_the_register_names_the_replica_that_has_the_secret(on_sentinels: Cluster) -> None:
    # Given a run on a master with a replica / When it is over
    begin(on_sentinels, 3, "-n", "3")
    code, result = on_sentinels.verify()
    assert code == 0, not_held(result)
    # Then the secret is known to be safe from the loss of the master
    [written] = on_sentinels.events("secret.written")
    assert written["durability"] == "replica"


RQS_OWN = """
import sys
from rq import Worker
from broker.streams.connection import connect
Worker(["any"], connection=connect(sys.argv[1])).work(logging_level="ERROR")
"""


@pytest.mark.parametrize("program", [["-m", "deploy", "worker"], ["-c", RQS_OWN]], ids=["robots worker", "RQ's own"])
def test_an_idle_rq_worker_ends_at_sigterm(on_sentinels: Cluster, sentinels: Sentinels, program: list[str]) -> None:
    # Given an RQ worker that waits for a job; RQ's own waits for minutes, and its wait is interrupted
    place = on_sentinels.place
    place.program = [sys.executable, *program]
    worker = place.start("--redis-url", sentinels.url) if "-m" in program else place.start(sentinels.url)
    await_true(lambda: blocked_clients(sentinels), what="an idle RQ worker")
    # When it is told to end / Then it does
    began_s = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=AGAIN_S) == 0
    print(f"ended in {time.monotonic() - began_s:.2f} s")


def blocked_clients(sentinels: Sentinels) -> int:
    with sentinels.master().client() as client:
        return int(client.info("clients")["blocked_clients"])
