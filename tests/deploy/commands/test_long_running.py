"""Long-running commands as services of any host see them: they wait for a run, keep a heartbeat, and end on SIGTERM."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from broker.streams.connection import connect
from broker.streams.embedded import EmbeddedServer
from deploy.attach.discovery import newest_on
from deploy.processes.liveness import BEAT_S
from tests.support.checkout import ROOT
from tests.support.waiting import await_true

COMMANDS = {
    "worker": ["worker"],
    "relay": ["relay", "--stay"],
    "supervise": ["supervise", "--stay"],
    "verify": ["verify", "--wait"],
    "metrics": ["metrics", "--port", "0", "--wait"],
    "follow": ["traces", "follow", "--wait"],
}
"""By the name of their heartbeat."""

NAMES = [name if name in ("worker", "relay") else pytest.param(name, marks=pytest.mark.long) for name in COMMANDS]

LONG_AGO_S = 1000.0  # after 1970

IMPATIENT = """
import sys
import deploy.commands.service
from deploy.entry import main
deploy.commands.service.AWAY_LIMIT_S = 0.5
sys.exit(main())
"""
"""The lab with a minute of half a second: shorter than an outage that is reported."""

pytestmark = pytest.mark.live


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        yield server


@contextmanager
def running(
    server: EmbeddedServer, place: Path, *command: str, program: tuple[str, ...] = ("-m", "deploy")
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, *program, *command],
        cwd=place,
        env=environment(server),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def environment(server: EmbeddedServer) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ROBOTS_", "OTEL_"))}
    named = {"ROBOTS_REDIS_URL": server.url, "ROBOTS_HEARTBEATS": "beats", "PYTHONPATH": str(ROOT)}
    return {**clean, **named, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


def make_old(heartbeat: Path) -> None:
    os.utime(heartbeat, (LONG_AGO_S, LONG_AGO_S))


def is_young(heartbeat: Path) -> bool:
    return heartbeat.stat().st_mtime > LONG_AGO_S


def child_of(process: subprocess.Popen[str]) -> int:
    [child] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(child)


@pytest.mark.parametrize("name", NAMES)
def test_a_command_that_waits_for_a_run_keeps_beating_and_ends_on_sigterm(
    name: str, server: EmbeddedServer, tmp_path: Path
) -> None:
    # Given a server without a run, and a command that waits for one
    heartbeat = tmp_path / "beats" / name
    with running(server, tmp_path, *COMMANDS[name]) as process:
        await_true(heartbeat.exists)

        # When its heartbeat has grown old, then its loop makes it young again
        make_old(heartbeat)
        await_true(lambda: is_young(heartbeat))

        # When it is told to end, then it ends in order
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) in (0, 130)


@pytest.mark.parametrize("name", NAMES)
def test_a_command_that_is_started_before_its_server_waits_for_it(
    name: str, server: EmbeddedServer, tmp_path: Path
) -> None:
    # Given a server that is away
    os.kill(server.pid, signal.SIGKILL)
    with running(server, tmp_path, *COMMANDS[name]) as process:
        # When a command is started, then it lives, and says what it waits for
        assert "waiting for it" in process.stderr.readline()
        make_old(tmp_path / "beats" / name)
        await_true(lambda: is_young(tmp_path / "beats" / name))
        assert process.poll() is None

        # When the server is there, then the command goes on
        server.start_again()
        assert re.search("waiting for one|RQ worker", process.stderr.readline())


@pytest.mark.parametrize(("name", "begun"), [("relay", "relaying shard 0"), ("supervise", "standing by")])
def test_a_run_that_is_served_by_a_command_that_stays_waits_for_its_server_without_a_limit(
    name: str, begun: str, server: EmbeddedServer, tmp_path: Path
) -> None:
    # Given a run, and a command that stays and serves it
    deal = [sys.executable, "-m", "deploy", "deal", "-n", "3"]
    subprocess.run(deal, cwd=tmp_path, env=environment(server), capture_output=True, check=True)
    with running(server, tmp_path, *COMMANDS[name], program=("-c", IMPATIENT)) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        assert any(begun in line for line in lines)

        # When the server does not answer for longer than any other command waits
        os.kill(server.pid, signal.SIGSTOP)
        silence = next(line for line in lines if "answer" in line)

        # Then it is waited for, and no limit is named
        assert "does not answer" in silence
        assert "at most" not in silence

        # And when it answers again, then the same child goes on
        os.kill(server.pid, signal.SIGCONT)
        assert "the server answers again" in next(line for line in lines if "answer" in line)
        process.terminate()
        assert process.wait(10) == 0


def test_a_command_that_may_not_use_its_server_does_not_wait(server: EmbeddedServer, tmp_path: Path) -> None:
    # Given a server that knows no such user
    url = server.url.replace("unix://", "unix://stranger:wrong@")

    # When a command is started
    command = [sys.executable, "-m", "deploy", "relay", "--stay", "--redis-url", url]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(server), capture_output=True, text=True, timeout=30, check=False
    )

    # Then it ends, because waiting helps nothing
    assert done.returncode == 4
    assert "does not let us in" in done.stderr
    assert "wrong" not in done.stderr


def test_an_rq_worker_that_hangs_does_not_beat_though_its_parent_lives(server: EmbeddedServer, tmp_path: Path) -> None:
    # Given
    heartbeat = tmp_path / "beats" / "rq:0"
    with running(server, tmp_path, "worker") as process:
        await_true(heartbeat.exists)

        # When the RQ worker is stopped
        os.kill(child_of(process), signal.SIGSTOP)
        make_old(heartbeat)

        # Then nothing else beats for it
        end_s = time.monotonic() + 3 * BEAT_S
        while time.monotonic() < end_s:
            assert not is_young(heartbeat)
            time.sleep(BEAT_S / 10)
        assert process.poll() is None

        # And when it goes on, it beats
        os.kill(child_of(process), signal.SIGCONT)
        await_true(lambda: is_young(heartbeat))


def test_a_run_is_dealt_once_while_it_goes_on(server: EmbeddedServer, tmp_path: Path) -> None:
    # Given a run that goes on
    deal = [sys.executable, "-m", "deploy", "deal", "--unless-live", "-n", "3"]
    first = subprocess.run(deal, cwd=tmp_path, env=environment(server), capture_output=True, text=True, check=True)
    with connect(server.url) as client:
        run = newest_on(client)
        assert run is not None
        assert run in first.stdout

        # When another one is dealt unless one is live
        second = subprocess.run(deal, cwd=tmp_path, env=environment(server), capture_output=True, text=True, check=True)

        # Then nothing is dealt
        assert f"run {run} goes on; nothing is dealt" in second.stderr
        assert newest_on(client) == run
        assert client.llen("rq:queue:robots") == 3
