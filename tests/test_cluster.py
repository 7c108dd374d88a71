"""A run without a parent: dealt on a server, and run by whoever comes, in any order. Real processes, killed by hand."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_place import Place
from waiting import await_true, is_alive

from broker.ports.robot import Deed
from broker.streams.connection import connect
from broker.streams.embedded import EmbeddedServer
from broker.streams.keys import Keys
from broker.streams.run.control import StreamDesk
from broker.streams.run.fleet_log import StreamFleetLog
from broker.streams.run.runs import read_course

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="live runs are for Linux"),
]


def not_held(result: dict[str, Any]) -> dict[str, Any]:
    """What speaks against a run."""
    return {name: promise for name, promise in result["promises"].items() if promise["state"] != "HELD"}


class Cluster:
    """A server, and commands that know nothing but its URL."""

    def __init__(self, place: Place, server: EmbeddedServer) -> None:
        self.place = place
        self.server = server
        self.client = connect(server.url)
        place.environment["ROBOTS_REDIS_URL"] = server.url
        self.run = ""

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self.place.start(*arguments)

    def do(self, *arguments: str, timeout: float = 40) -> tuple[int, str, str]:
        process = self.place.start(*arguments)
        out, err = process.communicate(timeout=timeout)
        return process.returncode, out.decode(), err.decode()

    def deal(self, *arguments: str) -> str:
        code, out, err = self.do("deal", "--json", "--seed", "3", *arguments)
        assert code == 0, err
        self.run = json.loads(out)["run"]
        return self.run

    def verify(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        code, out, err = self.do("verify", "--wait", "--json", *arguments)
        assert out, err
        return code, json.loads(out)

    def await_go(self) -> None:
        def is_begun() -> bool:
            course = read_course(self.client, self.run)
            return course is not None and course.go_ms is not None

        await_true(is_begun, 20, "the order go")

    def robots(self) -> dict[str, dict[str, Any]]:
        code, out, _ = self.do("ps", self.run, "--json")
        return {robot["robot"]: robot for robot in json.loads(out)["robots"]} if code == 0 else {}

    def await_states(self, seconds: float = 20, **wanted: str) -> dict[str, dict[str, Any]]:
        """Until robots are in these states; how all fare then."""

        def there() -> dict[str, dict[str, Any]]:
            fares = self.robots()
            return fares if all(fares.get(robot, {}).get("state") == state for robot, state in wanted.items()) else {}

        return await_true(there, seconds, str(wanted))

    def lives(self, robot: str) -> int:
        rows = StreamDesk(self.client, self.run).journal(robot)
        return rows[-1].incarnation if rows else 0

    def deeds(self) -> list[tuple[str, str]]:
        rows = StreamFleetLog(self.client, self.run).rows()
        return [(row.text, row.victim) for row in rows if isinstance(row, Deed)]

    def events(self, name: str) -> list[dict[str, Any]]:
        """All events of that name that the record tells of."""
        return [row["event"] for row in self.place.events() if row["event"]["name"] == name]

    def heard(self, process: subprocess.Popen[bytes]) -> str:
        """All that an ended process has said."""
        assert process.stderr is not None
        return process.stderr.read().decode()


@pytest.fixture
def cluster(place: Place) -> Iterator[Cluster]:
    with EmbeddedServer() as server:
        cluster = Cluster(place, server)
        yield cluster
        cluster.client.close()
        for process in place.started:
            if process.poll() is None:
                process.kill()
                process.wait()


ORDERS = {
    "the deal last": ("supervise", "verify", "worker", "relay", "deal"),
    "the deal first": ("deal", "worker", "supervise", "relay", "verify"),
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS.keys())
def test_a_run_without_a_parent_is_held_in_whatever_order_its_parts_come(
    cluster: Cluster, order: tuple[str, ...]
) -> None:
    # Given everything that a run takes, each started by somebody, in some order
    parts = {}
    for name in order:
        if name == "deal":
            cluster.deal("-n", "4", "--relays", "2", "--for", "1s")
        elif name == "verify":
            parts[name] = cluster.start("verify", "--wait", "--json", "--forget")
        elif name == "relay":
            parts["relay 0"], parts["relay 1"] = cluster.start("relay"), cluster.start("relay")
        else:
            parts[name] = cluster.start(name, *(("-n", "4") if name == "worker" else ()))

    # When the run has ended by itself
    out, err = parts["verify"].communicate(timeout=45)

    # Then it is judged from its record, made here, and all promises hold
    result = json.loads(out)
    assert parts["verify"].returncode == 0, (not_held(result), err.decode())
    assert (result["run"], result["ended"], result["joined"]) == (cluster.run, "complete", [])
    [secret] = cluster.place.folder.glob(f"runs/{cluster.run}/secret.txt")
    assert secret.read_text().startswith("Hidden beneath")
    # and who served it leaves, but for the RQ workers, which wait for the next run
    for name in ("supervise", "relay 0", "relay 1"):
        assert parts[name].wait(timeout=10) == 0, name
    assert parts["worker"].poll() is None
    parts["worker"].send_signal(signal.SIGTERM)
    assert parts["worker"].wait(timeout=5) == 0
    # and nothing of it is left on the server
    await_true(lambda: not any(is_of_a_run(key) for key in cluster.client.scan_iter()), 2, "an empty server")


def is_of_a_run(key: bytes) -> bool:
    return key.startswith(b"lab:") or b":robot-" in key


def begin(cluster: Cluster, workers: int, *deal: str) -> dict[str, subprocess.Popen[bytes]]:
    parts = {
        "supervise": cluster.start("supervise"),
        "relay": cluster.start("relay"),
        "worker": cluster.start("worker", "-n", str(workers)),
    }
    cluster.deal(*deal)
    cluster.await_go()
    return parts


def test_a_supervisor_that_is_killed_is_followed_by_one_that_stands_by(cluster: Cluster) -> None:
    # Given a run with a dated fault, deeds that come again, and a pause that goes on, under two supervisors; and a seed
    # by which r01 is not struck before its pause, and so is there
    chaos = ("kill robot every 1s", "pause r01 @1500ms+3s", "kill supervisor @2500ms")
    plan = ("--fault", "partition hold r00|r01 @1s+5s", *(word for deed in chaos for word in ("--chaos", deed)))
    parts = begin(cluster, 3, "-n", "3", "--for", "8s", *plan)
    standby = cluster.start("supervise")

    # When the first one strikes itself, as the plan says
    [died] = [await_true(lambda: [p for p in (parts["supervise"], standby) if p.poll() is not None], 15)]
    assert died[0].returncode == -signal.SIGKILL

    # Then the other one takes over: deeds go on, none is forgotten nor done twice, a pause ends, and so does the run
    code, result = cluster.verify()
    assert code == 0, not_held(result)
    deeds = cluster.deeds()
    assert deeds.count(("kill supervisor", "supervisor")) == 1
    before = [text for text, _ in deeds[: deeds.index(("kill supervisor", "supervisor"))]]
    after = [text for text, _ in deeds[len(before) + 1 :]]
    in_vain = [event["text"] for event in cluster.events("deed.failed")]  # no robot lived just then
    assert [*before, *after, *in_vain].count("kill robot") == 8
    assert "kill robot" in before
    assert "kill robot" in after
    assert ("pause r01" in before, after.count("resume r01")) == (True, 1)
    assert next(fault["injected"] for fault in result["faults"] if fault["name"] == "partition") > 0
    survivor = standby if died[0] is parts["supervise"] else parts["supervise"]
    assert survivor.wait(timeout=10) == 0


def test_a_host_that_dies_is_missed_within_seconds_and_its_robots_live_elsewhere(cluster: Cluster) -> None:
    # Given robots on one host, and idle RQ workers on another, for which new robots have joined
    parts = begin(cluster, 2, "-n", "2", "--for", "14s")
    before = cluster.await_states(r00="running", r01="running")
    other = cluster.start("worker", "-n", "2")
    cluster.await_states(r02="running", r03="running")

    # When the first host dies
    os.kill(parts["worker"].pid, signal.SIGKILL)
    gone_s = time.monotonic()

    # Then everything on it is dead, and its robots wait: nobody is free
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
    assert result["joined"] == ["r02", "r03"]
    assert result["recoveries"]["count"] == 2


def test_a_run_that_nobody_relays_is_told_so_and_blames_no_robot(cluster: Cluster) -> None:
    # Given robots that gossip into an outbox that nobody empties
    supervisor = cluster.start("supervise")
    cluster.start("worker", "-n", "3")
    cluster.deal("-n", "3")
    cluster.await_go()
    assert supervisor.stderr is not None
    lines = iter(supervisor.stderr)
    assert any(b"nobody relays shard 0" in line for line in lines)

    # When it is stopped, recorded, and removed afterwards
    assert cluster.do("stop")[0] == 0
    code, result = cluster.verify()

    # Then nothing is proven, and nothing broken
    assert code == 3
    assert "nobody relayed shard 0" in result["promises"]["convergent"]["why"]
    assert {promise["state"] for promise in result["promises"].values()} == {"HELD", "UNPROVEN"}
    assert 0 < result["seconds"]["born"] < result["seconds"]["total"]
    assert cluster.do("verify", "--wait", "--forget", cluster.run)[0] == 3
    await_true(lambda: not any(is_of_a_run(key) for key in cluster.client.scan_iter()), 2, "an empty server")


def test_a_deed_reaches_a_process_of_another_host_through_its_rq_worker(cluster: Cluster) -> None:
    # Given robots whose RQ workers are nobody's children here
    begin(cluster, 3, "-n", "3", "--for", "12s")
    cluster.await_states(r00="running", r01="running", r02="running")

    # When a robot, the RQ worker of another and a third are struck from a terminal
    for words in (("kill", "r00"), ("pause", "r02", "--for", "500ms")):
        assert cluster.do(*words)[0] == 0
    await_true(lambda: cluster.lives("r00") == 2, 5, "the next life of r00")
    assert cluster.do("kill", "rq:r01")[0] == 0

    # Then the RQ worker is gone and missed, and what cannot be done from afar is refused by name
    cluster.await_states(10, r01="waiting")
    assert cluster.do("pause", "rq:r02", "--for", "1s")[0] == 0
    cluster.start("worker")
    cluster.await_states(10, r01="running")
    code, result = cluster.verify()
    assert code == 0, not_held(result)
    assert [event["why"] for event in cluster.events("deed.failed")] == ["it cannot be done to rq:r02 now"]
    assert result["lives"] == {"r00": 2, "r01": 2}


def test_rqs_own_command_runs_robots_too_and_one_more_lets_a_robot_join(cluster: Cluster) -> None:
    # Given RQ workers that were started by RQ's own command, one more than there are robots
    cluster.start("supervise")
    cluster.start("relay")
    cluster.deal("-n", "2", "--for", "6s")
    command = [str(Path(sys.executable).with_name("rq")), "worker", "-w", "deploy.rq.worker.RobotWorker"]
    environment = cluster.place.environment
    several = [
        subprocess.Popen([*command, "--url", cluster.server.url, "robots"], env=environment, stderr=subprocess.DEVNULL)
        for _ in range(3)
    ]
    cluster.place.started += several

    # When the run has ended / Then the third has run a robot of its own, and all promises hold
    code, result = cluster.verify(cluster.run)
    assert code == 0, not_held(result)
    assert result["joined"] == ["r02"]
    for process in several:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(timeout=5) for process in several] == [0, 0, 0]


def test_a_run_is_stopped_from_any_host_and_a_second_deal_is_served_by_those_who_stay(cluster: Cluster) -> None:
    # Given those who stay, and a run that would go on for long
    stay = [cluster.start("supervise", "--stay"), cluster.start("relay", "--stay"), cluster.start("worker", "-n", "2")]
    first = cluster.deal("-n", "2", "--for", "10m")
    cluster.await_go()

    # When somebody stops it
    code, out, _ = cluster.do("stop")

    # Then it is over, and can be judged
    assert (code, out) == (0, f"run {first}: stopped\n")
    code, result = cluster.verify(first)
    assert (result["ended"], result["run"]) == ("stopped", first)
    assert code in (0, 3), not_held(result)  # it may have been stopped before the secret was written
    assert cluster.do("ps")[0] == 2

    # And the next run is served by the same
    second = cluster.deal("-n", "2")
    code, result = cluster.verify(second)
    assert code == 0, not_held(result)
    assert [process.poll() for process in stay] == [None, None, None]

    # who end when they are told
    for process in stay:
        process.send_signal(signal.SIGINT)
    assert [process.wait(timeout=6) for process in stay] == [130, 130, 130]


def test_the_plan_of_a_run_is_known_on_every_host(cluster: Cluster) -> None:
    # Given a run that was dealt, and of which this host has no record
    cluster.deal("-n", "2", "--fault", "loss .5 r00 @5s+1s")

    # When somebody asks for its plan, and for more than it can do
    code, out, err = cluster.do("faults", "show", "--json")
    refused, _, why = cluster.do("faults", "set", "loss .5 r07")

    # Then what is dated to come is told, and the other is complained of
    assert code == 0, err
    assert [fault["fault"] for coming in json.loads(out)["to_come"] for fault in coming["begin"]] == ["loss 0.5 r00"]
    assert (refused, "r07" in why) == (2, True)


def test_a_server_that_is_away_when_the_run_would_end_is_waited_for(cluster: Cluster) -> None:
    # Given a run that is to end after three seconds, and somebody who waits for that
    parts = begin(cluster, 2, "-n", "2", "--for", "3s")
    waiting = cluster.start("verify", "--wait", "--json")
    await_true(lambda: StreamDesk(cluster.client, cluster.run).collect().register, 10, "the secret")

    # When the server is killed, and comes back with all that it held when the time is over
    os.kill(cluster.server.pid, signal.SIGKILL)
    cluster.server._process.wait(5)
    begun_s = time.monotonic()
    await_true(lambda: time.monotonic() - begun_s > 5, 6)
    cluster.server.start_again()

    # Then the run ends in order, and nobody has died of it
    out, err = waiting.communicate(timeout=30)
    result = json.loads(out)
    assert waiting.returncode == 0, (not_held(result), err.decode())
    assert (result["ended"], result["lives"]) == ("complete", {})
    assert parts["supervise"].wait(timeout=10) == 0


def test_a_server_that_comes_back_empty_ends_the_run_without_a_second_write(cluster: Cluster) -> None:
    # Given a run in which the secret is written, and somebody who waits for its end
    parts = begin(cluster, 2, "-n", "2", "--for", "30s")
    await_true(lambda: StreamDesk(cluster.client, cluster.run).collect().register, 10, "the secret")
    waiting = cluster.start("verify", "--wait", "--json")
    assert waiting.stderr is not None
    assert any(b"waiting for its end" in line for line in waiting.stderr)

    # When the server loses all that it held
    cluster.client.flushall()

    # Then whoever looked after it says so, and nothing is written again, nor called proven
    assert parts["supervise"].wait(timeout=10) == 4
    out, _ = waiting.communicate(timeout=15)
    result = json.loads(out)
    assert (waiting.returncode, result["verdict"], result["ended"]) == (3, "UNPROVEN", "lost")
    assert not cluster.client.exists(Keys(cluster.run).register, Keys(cluster.run).orders)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("deal",), "--redis-url: a server is needed"),
        (("worker",), "no run is live in runs/"),
        (("worker", "-n", "0", "--redis-url", "unix:///x"), "--count: 0 is outside"),
        (("worker", "--redis-url", "http://x"), "--redis-url: a server's URL begins with"),
        (("supervise",), "no run is live in runs/"),
        (("stop",), "no run is live in runs/"),
        (("verify", "--wait"), "no run is live in runs/"),
        (("verify", "--wait", "nosuch"), "no run 'nosuch' is recorded"),
        (
            ("deal", "--kill", "redis@2s", "--redis-url", "unix:///x"),
            "fault kill redis: no supervisor has a redis at hand",
        ),
        (("verify", "--forget"), "--forget: goes with --wait"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(place: Place, words: tuple[str, ...], complaint: str) -> None:
    process = place.start(*words)
    out, err = process.communicate(timeout=20)

    assert (process.returncode, out) == (2, b"")
    assert complaint in err.decode()
    assert err.count(b"\n") == 1
    assert not (place.folder / "runs").exists()


def test_a_server_that_is_not_there_is_told_as_such(place: Place, tmp_path: Path) -> None:
    for words in (("deal",), ("worker",), ("supervise",), ("relay",), ("stop",), ("verify", "--wait"), ("ps",)):
        process = place.start(*words, "--redis-url", f"unix://{tmp_path}/none.sock")
        _, err = process.communicate(timeout=20)
        assert (process.returncode, err.count(b"\n")) == (4, 1), (words, err)
