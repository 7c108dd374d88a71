"""Whole runs whose streams lie on a Redis Cluster, while RQ is on one plain server; a master dies in the middle."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from broker.streams.embedded import EmbeddedServer
from broker.streams.keys import Keys
from tests.support.live_place import LIVE, UNTIL_STOPPED, Place, not_held
from tests.support.redis_cluster import ClusterServer, RedisCluster
from tests.support.waiting import await_true

pytestmark = LIVE


STREAMS = ["outbox", *(pytest.param(stream, marks=pytest.mark.long) for stream in ("events", "inbox"))]


@pytest.fixture
def data(place: Place) -> Iterator[RedisCluster]:
    """Three masters with a replica each."""
    with EmbeddedServer() as control, RedisCluster(replicas=1) as data:
        place.environment |= {"ROBOTS_CONTROL_URL": control.url, "ROBOTS_DATA_URL": data.url}
        yield data


@pytest.mark.parametrize("stream", STREAMS)
def test_a_run_outlives_the_master_of(stream: str, place: Place, data: RedisCluster) -> None:
    code, states, err = outlive(stream, place, data, lags=False)
    # Every promise is held; if the replica lacked what was stored, that is reported, and nothing can be proven
    assert (code, states) == ((3, {"UNPROVEN"}) if place.view().has_server_forgotten else (0, set())), err


@pytest.mark.long
@pytest.mark.parametrize("stream", ["events", "outbox", "inbox"])
def test_when_the_replica_lacks_what_was_acknowledged_nothing_is_held_against_anyone(
    stream: str, place: Place, data: RedisCluster
) -> None:
    code, states, err = outlive(stream, place, data, lags=True)
    # That is reported, and nothing can be proven
    assert (code, states) == (3, {"UNPROVEN"}), err
    assert place.view().has_server_forgotten


def outlive(stream: str, place: Place, data: RedisCluster, lags: bool) -> tuple[int, set[str], str]:
    """Have a run's master killed, whose replica `lags` or not. Exit code, states of promises that are not HELD, and
    progress."""
    # Given a run of two shards at work
    process = place.start(
        "run", "--json", "-n", "6", "--relays", "2", "--preset", "lossy", "--seed", "3", *UNTIL_STOPPED
    )
    place.await_traffic()
    keys = Keys((place.folder / "runs/latest").resolve().name)
    # When a master dies, and its replica takes over
    key = {"events": keys.events, "outbox": keys.outbox(0), "inbox": keys.inbox("r03")}[stream]
    master = data.master_of(key)
    replica = data.replica_of(master)
    if lags:
        replica.cut_off(master)
        known = added(master, key)
        await_true(lambda: added(master, key) > known + 2, what="what only the master has")
    master.kill()
    replica.process.send_signal(signal.SIGCONT)
    await_true(replica.is_master, what="the failover")
    # Then messages travel again, all robots learn all, and one writes it; or the loss is reported
    await_true(lambda: has_traffic(place) or place.view().has_server_forgotten, what="the end of the outage")
    await_true(lambda: place.view().is_done or place.view().has_server_forgotten, what="the end of the gossip")
    process.terminate()
    code, result, err = place.result_of(process)
    assert place.is_clean()
    return code, {promise["state"] for promise in not_held(result).values()}, err


def added(server: ClusterServer, key: str) -> int:
    """How many entries a stream has ever had."""
    return int(server.client.xinfo_stream(key)["entries-added"])


def has_traffic(place: Place) -> bool:
    """Whether an envelope came to its robot that was sent after the last relay took its shard over."""
    rows = place.events()
    resumed = [row["wall_us"] for row in rows if row["event"]["name"] == "relay.resumed"]
    return any(row["event"]["name"] == "message.received" and row["wall_us"] > resumed[-1] for row in rows)


def test_a_run_without_a_parent_leaves_nothing_on_the_cluster(place: Place, data: RedisCluster) -> None:
    # Given the commands of a run without a parent
    started = [place.start(*command) for command in (("supervise",), ("relay",), ("worker", "-n", "4"))]
    dealt = done(place, "deal", "-n", "4", "--loss", ".2", "--seed", "3")
    # When it is recorded, judged and removed
    result = done(place, "verify", "--wait", "--forget", dealt["run"])
    assert not_held(result) == {}
    # Then no server of the cluster holds anything
    assert [master.client.dbsize() for master in data.masters] == [0, 0, 0]
    for process in started:
        process.terminate()
        process.communicate(timeout=30)


def done(place: Place, *command: str) -> dict[str, Any]:
    """What a command prints that ends with 0."""
    process = place.start(*command, "--json")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()
    found: dict[str, Any] = json.loads(out)
    return found
