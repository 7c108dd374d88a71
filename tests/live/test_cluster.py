"""A run without a parent: dealt on a server, and run by processes that come in any order. Real ones, killed by hand."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.cluster import Cluster, begin, is_of_a_run
from tests.support.live_place import END_S, LIVE, UNTIL_STOPPED, Place, not_held
from tests.support.waiting import await_true

pytestmark = LIVE


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
    out, err = parts["verify"].communicate(timeout=END_S)

    # Then it is judged from its record, made here, and all promises hold
    result = json.loads(out)
    assert parts["verify"].returncode == 0, (not_held(result), err.decode())
    assert (result["run"], result["ended"], result["whole_run"]["joined"]) == (cluster.run, "complete", [])
    [secret] = cluster.place.folder.glob(f"runs/{cluster.run}/secret.txt")
    assert secret.read_text().startswith("Hidden beneath")
    # and who served it leaves, but for the RQ workers, which wait for the next run
    for name in ("supervise", "relay 0", "relay 1"):
        assert parts[name].wait(timeout=END_S) == 0, name
    assert parts["worker"].poll() is None
    parts["worker"].send_signal(signal.SIGTERM)
    assert parts["worker"].wait(timeout=END_S) == 0
    # and nothing of it is left on the server
    await_true(lambda: not any(is_of_a_run(key) for key in cluster.client.scan_iter()), what="an empty server")


def test_a_run_without_a_relay_is_reported_so_and_blames_no_robot(cluster: Cluster) -> None:
    # Given robots that gossip into an outbox that no relay empties
    supervisor = cluster.start("supervise")
    cluster.start("worker", "-n", "3")
    cluster.deal("-n", "3", *UNTIL_STOPPED)
    cluster.await_go()
    assert supervisor.stderr is not None
    lines = iter(supervisor.stderr)
    assert any(b"shard 0 has no relay" in line for line in lines)

    # When it is stopped, recorded, and removed afterwards
    assert cluster.do("stop")[0] == 0
    code, result = cluster.verify()

    # Then nothing is proven, and nothing broken
    assert code == 3
    assert "no relay served shard 0" in result["promises"]["convergent"]["why"]
    assert {promise["state"] for promise in result["promises"].values()} == {"HELD", "UNPROVEN"}
    assert 0 < result["seconds"]["born"] < result["seconds"]["total"]
    assert cluster.do("verify", "--wait", "--forget", cluster.run)[0] == 3
    await_true(lambda: not any(is_of_a_run(key) for key in cluster.client.scan_iter()), what="an empty server")


@pytest.mark.long
def test_an_injection_reaches_a_process_of_another_host_through_its_rq_worker(cluster: Cluster) -> None:
    # Given robots whose RQ workers are not the supervisor's children
    begin(cluster, 3, "-n", "3", *UNTIL_STOPPED)
    cluster.await_states(r00="running", r01="running", r02="running")

    # When faults are injected into a robot, the RQ worker of another and a third from a terminal
    for words in (("kill", "r00"), ("pause", "r02", "--for", "500ms")):
        assert cluster.do(*words)[0] == 0
    await_true(lambda: cluster.lives("r00") == 2, what="the next life of r00")
    assert cluster.do("kill", "rq:r01")[0] == 0

    # Then the RQ worker is gone and missed, and what cannot be done from afar is refused with the reason
    cluster.await_states(r01="waiting")
    refused, _, why = cluster.do("pause", "rq:r02", "--for", "1s")
    assert (refused, "an RQ worker of another host could not be resumed" in why) == (2, True), why
    cluster.start("worker")
    cluster.await_states(r01="running")
    cluster.stop()
    code, result = cluster.verify()
    assert code == 0, not_held(result)
    assert cluster.events("injection.failed") == []
    assert result["whole_run"]["lives"] == {"r00": 2, "r01": 2}


def test_rqs_own_command_runs_robots_too_and_one_more_lets_a_robot_join(cluster: Cluster) -> None:
    # Given RQ workers that were started by RQ's own command, one more than there are robots
    cluster.start("supervise")
    cluster.start("relay")
    cluster.deal("-n", "2", *UNTIL_STOPPED)
    command = [str(Path(sys.executable).with_name("rq")), "worker", "-w", "deploy.rq.worker.RobotWorker"]
    environment = cluster.place.environment
    several = [
        subprocess.Popen([*command, "--url", cluster.server.url, "robots"], env=environment, stderr=subprocess.DEVNULL)
        for _ in range(3)
    ]
    cluster.place.started += several

    # When the run is ended / Then the third has run a robot of its own, and all promises hold
    cluster.await_states(r00="running", r01="running", r02="running")
    cluster.stop()
    code, result = cluster.verify(cluster.run)
    assert code == 0, not_held(result)
    assert result["whole_run"]["joined"] == ["r02"]
    for process in several:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(timeout=END_S) for process in several] == [0, 0, 0]


def test_a_run_is_stopped_from_any_host_and_a_second_deal_is_served_by_those_who_stay(cluster: Cluster) -> None:
    # Given those who stay, and a run that would go on for long
    stay = [cluster.start("supervise", "--stay"), cluster.start("relay", "--stay"), cluster.start("worker", "-n", "2")]
    first = cluster.deal("-n", "2", *UNTIL_STOPPED)
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
    assert [process.wait(timeout=END_S) for process in stay] == [130, 130, 130]


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


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("deal",), "--redis-url: a server that all hosts can reach is needed"),
        (("worker",), "no run is live in runs/"),
        (("worker", "-n", "0", "--redis-url", "unix:///x"), "--count: 0 is outside"),
        (("worker", "--redis-url", "http://x"), "--redis-url: a server's URL begins with"),
        (("supervise",), "no run is live in runs/"),
        (("stop",), "no run is live in runs/"),
        (("verify", "--wait"), "no run is live in runs/"),
        (("verify", "--wait", "nosuch"), "no run 'nosuch' is recorded"),
        (
            ("deal", "--kill", "redis@2s", "--redis-url", "unix:///x"),
            "fault 'kill redis @2s': no supervisor can reach it",
        ),
        (("verify", "--forget"), "--forget: goes with --wait"),
    ],
)
def test_what_cannot_be_done_is_output_in_one_line(place: Place, words: tuple[str, ...], complaint: str) -> None:
    process = place.start(*words)
    out, err = process.communicate(timeout=END_S)

    assert (process.returncode, out) == (2, b"")
    assert complaint in err.decode()
    assert err.count(b"\n") == 1
    assert not (place.folder / "runs").exists()


def test_a_server_that_is_not_there_is_reported_as_such(place: Place, tmp_path: Path) -> None:
    for words in (("deal",), ("stop",), ("ps",), ("runs",)):  # the long-running ones wait for it
        process = place.start(*words, "--redis-url", f"unix://{tmp_path}/none.sock")
        _, err = process.communicate(timeout=END_S)
        assert (process.returncode, err.count(b"\n")) == (4, 1), (words, err)


def test_a_long_running_command_reports_once_that_it_waits_for_its_server(place: Place, tmp_path: Path) -> None:
    for words in (("worker",), ("supervise",), ("relay",), ("verify", "--wait")):
        # Given a server that is not there
        process = place.start(*words, "--redis-url", f"unix://{tmp_path}/none.sock")

        # When the command waits for it, then one line says so
        assert process.stderr is not None
        line = process.stderr.readline()
        assert b"none.sock" in line
        assert line.endswith(b"; waiting for it\n")

        # And it ends as soon as it is told to
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=END_S)
        assert process.returncode in (0, 130), words
