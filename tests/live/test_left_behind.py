"""Nothing stays behind: no process, no key, no file; and no process waits for ever for a server that is gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import redis

from broker.streams.connection import connect
from broker.streams.embedded import EmbeddedServer
from broker.streams.keys import Keys
from broker.streams.run.control import StreamRunControl
from tests.live.cluster import Cluster, begin
from tests.support.live_place import END_S, LIVE, UNTIL_STOPPED, Place
from tests.support.waiting import await_true, is_alive

pytestmark = LIVE

IMPATIENT: Final = """
import sys
import deploy.commands.service, deploy.observing.event_tail, deploy.processes.leftovers
from deploy.entry import main
deploy.commands.service.AWAY_LIMIT_S = deploy.observing.event_tail.AWAY_LIMIT_S = 4.0
deploy.processes.leftovers.FRESH_S = 0.0
sys.exit(main())
"""
"""The lab with a minute of four seconds, and for which no folder is too fresh."""

IMPATIENT_RQ: Final = """
import sys
import deploy.rq.patient_worker
from functools import partial
from broker.streams.outage import ServerWatch
from rq.cli import main
deploy.rq.patient_worker.ServerWatch = partial(ServerWatch, limit_s=4.0)
sys.exit(main())
"""
"""RQ's own command, likewise."""

GONE: Final = "the server has not answered for 4 s; it is not waited for any longer"
AWAY: Final = "the server does not answer"
SMALL: Final = ("-n", "3", *UNTIL_STOPPED)


@pytest.fixture
def shared(place: Place) -> Iterator[EmbeddedServer]:
    """A server that a run does not own."""
    with EmbeddedServer() as server:
        place.environment["TMPDIR"] = str(place.temporary)
        yield server


def keys_on(server: EmbeddedServer) -> set[str]:
    """All keys that do not run out by themselves."""
    with connect(server.url) as client:
        return {key.decode() for key in client.scan_iter() if client.ttl(key) == -1}


def await_nothing_on(server: EmbeddedServer) -> None:
    """Until no key is left but what RQ lets run out, and none of a run."""

    def left() -> set[str]:
        with connect(server.url) as client:
            of_runs = {key.decode() for key in client.scan_iter() if key.startswith(b"lab:") or b":robot-" in key}
        return of_runs | keys_on(server)

    await_true(lambda: not left(), what="an empty server")


def begun(place: Place, server: EmbeddedServer, *options: str) -> tuple[subprocess.Popen[bytes], str]:
    """`robots run` on a shared server, and its run."""
    process = place.start("run", "--json", "--redis-url", server.url, *SMALL, *options)
    place.await_event("run.started")
    return process, (place.folder / "runs" / "latest").resolve().name


def lines_of(process: subprocess.Popen[bytes]) -> list[str]:
    assert process.stderr is not None
    return process.stderr.read().decode().splitlines()


def await_line(process: subprocess.Popen[bytes], text: str) -> None:
    """Until the process says so; what it said before is read then."""
    assert process.stderr is not None
    assert any(text.encode() in line for line in iter(process.stderr.readline, b"")), text


def kill(server: EmbeddedServer) -> None:
    os.kill(server.pid, signal.SIGKILL)
    await_true(lambda: not is_alive(server.pid), what="the server's death")


# The server is gone for good


COMMANDS: Final = {
    "worker": ("worker", "-n", "2"),
    "relay": ("relay",),
    "supervise": ("supervise",),
    "verify": ("verify", "--wait"),
    "metrics": ("metrics", "--port", "0", "--wait"),
    "events": ("events", "--follow", "--filter", "run.*"),  # few lines: a full pipe would stop it
}


def test_every_process_of_a_run_ends_with_one_line_when_its_server_is_gone_for_good(cluster: Cluster) -> None:
    # Given a run with each command that takes part in it, or observes it
    cluster.place.program = [sys.executable, "-c", IMPATIENT]
    parts = begin(cluster, 3, *SMALL)
    parts |= {name: cluster.start(*COMMANDS[name]) for name in ("verify", "metrics", "events")}
    parts["standby"] = cluster.start("relay")
    for name, text in (("verify", "waiting for its end"), ("metrics", "metrics at"), ("standby", "standing by")):
        await_line(parts[name], text)
    assert parts["events"].stdout is not None
    assert parts["events"].stdout.readline()
    # When its server is killed, and does not come back
    kill(cluster.server)
    # Then each ends by itself, in order
    for name, process in parts.items():
        assert process.wait(timeout=END_S) == 4, name
        lines = lines_of(process)
        # And with one line that tells why
        assert lines[-1] == f"robots: {GONE}", (name, lines)
        assert sum(AWAY in line for line in lines) <= 1 or name in ("supervise", "verify"), (name, lines)
        assert not any("Traceback" in line or "retrying" in line for line in lines), (name, lines)
    assert cluster.place.processes() == {}


@pytest.mark.long
def test_commands_that_wait_for_a_run_end_when_the_server_is_gone(cluster: Cluster) -> None:
    cluster.place.program = [sys.executable, "-c", IMPATIENT]
    waiting = {name: cluster.start(*COMMANDS[name]) for name in ("worker", "relay", "supervise", "verify")}
    staying = cluster.start("relay", "--stay")
    await_true(lambda: len(keys_on(cluster.server)) > 0, what="RQ workers")
    for process in (waiting["relay"], waiting["supervise"], waiting["verify"], staying):
        await_line(process, "waiting for one")
    kill(cluster.server)
    for name, process in waiting.items():
        assert process.wait(timeout=END_S) == 4, name
        assert lines_of(process)[-1] == f"robots: {GONE}", name
    # And one that is to stay waits on, and ends with a signal
    await_line(staying, AWAY)
    assert staying.poll() is None
    staying.terminate()
    assert staying.wait(timeout=END_S) == 0


def test_rqs_own_command_ends_without_a_traceback_when_the_server_is_gone(place: Place) -> None:
    with EmbeddedServer() as server:
        # Given an RQ worker that RQ's own command has started
        place.program = [sys.executable, "-c", IMPATIENT_RQ]
        command = ("worker", "-w", "deploy.rq.worker.RobotWorker", "--url", server.url, "robots")
        idle = place.start(*command)
        await_true(lambda: "rq:workers" in keys_on(server), what="its birth")
        # When its server is killed
        kill(server)
        # Then it ends by itself, and tells in two lines what it waited for
        out, err = idle.communicate(timeout=END_S)  # RQ writes warnings to the one, and errors to the other
        lines = (out + err).decode().splitlines()
        reported = [line for line in lines if "the server" in line]
        assert [AWAY in line for line in reported] == [True, False], lines
        assert GONE in reported[-1]
        assert not any("Traceback" in line for line in lines), lines


@pytest.mark.long
def test_an_outage_that_is_over_costs_two_lines_and_no_rq_worker(place: Place) -> None:
    with EmbeddedServer() as server:
        # Given RQ workers, and a server that is away for a while
        worker = place.start("worker", "-n", "2", "--redis-url", server.url)
        await_true(lambda: len([name for name in keys_on(server) if name == "rq:workers"]) == 1, what="births")
        before = set(place.processes())
        os.kill(server.pid, signal.SIGSTOP)
        assert worker.stderr is not None
        lines = iter(worker.stderr.readline, b"")
        assert any(AWAY.encode() in line for line in lines)
        # When it is back
        os.kill(server.pid, signal.SIGCONT)
        # Then another line tells, and the same RQ workers are there
        assert b"the server answers again" in next(lines)
        assert set(place.processes()) == before
        worker.terminate()
        assert worker.wait(timeout=END_S) == 0
        await_nothing_on(server)


# The server is there, and the run is not any more


def test_a_run_on_a_server_that_is_flushed_ends_as_lost_and_leaves_nothing(
    place: Place, shared: EmbeddedServer
) -> None:
    # Given a run on a shared server
    process, _ = begun(place, shared)
    place.await_traffic()
    # When somebody flushes it
    with connect(shared.url) as client:
        client.flushall()
    # Then the run ends, as lost, in order
    code, result, err = place.result_of(process)
    assert (code, result["ended"], result["verdict"]) == (3, "lost", "UNPROVEN"), err
    assert "Traceback" not in err
    # And nothing is there of it
    await_nothing_on(shared)
    assert place.processes() == {}
    assert list(place.temporary.iterdir()) == []


@pytest.mark.long
def test_a_run_without_a_parent_on_a_flushed_server_ends_in_all_its_processes(cluster: Cluster) -> None:
    # Given a run without a parent, with a standby for each of its processes
    parts = begin(cluster, 3, *SMALL)
    standbys = {name: cluster.start(name) for name in ("supervise", "relay")}
    verifier = cluster.start("verify", "--wait")
    for process, text in (
        *((standbys[name], text) for name, text in (("supervise", "standing by"), ("relay", "standing by"))),
        (verifier, "waiting for its end"),
    ):
        await_line(process, text)
    # When its server is flushed
    cluster.client.flushall()
    # Then its processes end, each with one line
    for process in (parts["supervise"], standbys["supervise"]):
        assert process.wait(timeout=END_S) == 4
        assert "lost" in lines_of(process)[-1]
    for process in (parts["relay"], standbys["relay"]):
        assert process.wait(timeout=END_S) == 0
        assert "does not hold it any more" in lines_of(process)[-1]
    verifier.wait(timeout=END_S)
    # And RQ workers, which wait for the next run, end with a signal
    assert parts["worker"].poll() is None
    parts["worker"].terminate()
    assert parts["worker"].wait(timeout=END_S) == 0
    assert "Traceback" not in "".join(lines_of(parts["worker"]))
    # And nothing was made anew
    await_nothing_on(cluster.server)


def test_nothing_stays_of_a_run_that_is_removed_while_all_its_processes_work(cluster: Cluster) -> None:
    # Given a run in which everybody is at work
    parts = begin(cluster, 3, *SMALL, "--loss", ".2")
    # When it is removed at once, without an order to stop: no process has read any
    StreamRunControl(cluster.client, cluster.run).forget()
    # Then its processes end
    assert parts["supervise"].wait(timeout=END_S) == 4
    assert parts["relay"].wait(timeout=END_S) == 0
    parts["worker"].terminate()
    assert parts["worker"].wait(timeout=END_S) == 0
    # And no key was made anew. Its jobs, which this removal did not withdraw, go when they are pruned
    assert not [key for key in keys_on(cluster.server) if key.startswith("lab:")]
    code, _, err = cluster.do("runs", "--prune")
    assert code == 0, err
    await_nothing_on(cluster.server)


# The parent is gone


@pytest.mark.long
def test_nothing_stays_of_a_run_whose_parent_was_killed_and_that_is_forgotten(
    place: Place, shared: EmbeddedServer
) -> None:
    # Given a run on a shared server, whose parent is killed
    process, run = begun(place, shared)
    process.kill()
    process.wait(timeout=END_S)
    await_true(lambda: not place.processes(), what="the end of its processes")
    assert Keys(run).orders in keys_on(shared)
    # When it is stopped and forgotten
    stop = place.start("stop", run, "--forget", "--redis-url", shared.url)
    _, err = stop.communicate(timeout=END_S)
    assert stop.returncode == 0, err.decode()
    # Then nothing is there of it
    await_nothing_on(shared)
    assert list(place.temporary.iterdir()) == []


def test_a_run_with_a_parent_on_another_host_is_not_forgotten_from_here(place: Place, shared: EmbeddedServer) -> None:
    # Given a run whose parent is not known here
    process, run = begun(place, shared)
    # When somebody elsewhere would remove it
    stop = place.start("stop", run, "--forget", "--redis-url", shared.url, "--runs-dir", "elsewhere")
    _, err = stop.communicate(timeout=END_S)
    # Then that is refused
    assert stop.returncode == 2
    assert b"has a parent on another host" in err
    # And the run is as it was, until it is ended
    place.stop(process)
    await_nothing_on(shared)


@pytest.mark.long
def test_pruning_removes_all_that_a_killed_parent_and_its_janitor_have_left(
    place: Place, shared: EmbeddedServer
) -> None:
    # Given a run whose parent was killed together with its janitor
    place.program = [sys.executable, "-c", IMPATIENT]
    process, run = begun(place, shared)
    janitors = [pid for pid in children_of(process.pid) if os.getsid(pid) == pid and os.getpgid(pid) == pid]
    for pid in janitors:
        os.kill(pid, signal.SIGKILL)
    process.kill()
    process.wait(timeout=END_S)
    await_true(lambda: not place.processes(), what="the end of its processes")
    left = {path.name for path in place.temporary.iterdir()}
    assert left == {f"robots.{run}"}
    assert (place.folder / "runs" / run / "live.json").exists()
    # When what is left behind is pruned, on the server and here
    await_true(lambda: not is_led(shared, run), what="the end of its lease")
    prune = place.start("runs", "--prune", "--json", "--older-than", "0s", "--redis-url", shared.url)
    out, err = prune.communicate(timeout=END_S)
    assert prune.returncode == 0, err.decode()
    # Then it tells what it has removed
    removed: dict[str, Any] = json.loads(out)
    assert removed["runs"] == [{"run": run, "reason": "it was abandoned"}]
    assert removed["records"] == [f"runs/{run}/live.json"]
    assert str(place.temporary / f"robots.{run}") in removed["folders"]
    # And nothing is left but the record
    await_nothing_on(shared)
    assert list(place.temporary.iterdir()) == []


def test_nothing_stays_of_a_run_with_its_own_server_whose_parent_is_interrupted(place: Place) -> None:
    process = place.start("run", "--json", *SMALL)
    place.await_event("run.started")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=END_S) == 130
    assert place.is_clean()


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_led(server: EmbeddedServer, run: str) -> bool:
    with redis.Redis.from_url(server.url) as client:
        seconds, _ = client.time()
        return int(client.hget(Keys(run).supervisor, "until_us") or 0) > seconds * 1_000_000
