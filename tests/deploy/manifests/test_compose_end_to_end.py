"""compose.yaml with real containers: a run is scaled, harmed and judged, and is seen in Jaeger and Prometheus.

Opt-in, because it takes minutes and a Docker daemon: COMPOSE_TESTS=1 pytest -n 0 -m compose. It has a project of its
own, and removes it with its volumes.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import ROOT
from tests.support.waiting import await_true

DEALT, MANY, FEW = 25, 40, 5
STEP_S = 180.0  # for one step on a busy machine
RUN_S = 120.0  # for the run's end, its record and its verdict

pytestmark = [
    pytest.mark.compose,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.environ.get("COMPOSE_TESTS") != "1", reason="opt-in: COMPOSE_TESTS=1"),
]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Stack:
    """The services of compose.yaml, in a project of their own."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.jaeger, self.prometheus = free_port(), free_port()
        ports = {"JAEGER_PORT": self.jaeger, "PROMETHEUS_PORT": self.prometheus, "GRAFANA_PORT": free_port()}
        self._settings = folder / "settings.env"  # in the place of the person's own .env
        self._settings.write_text("".join(f"{name}={value}\n" for name, value in {**ports, **variables}.items()))

    def compose(self, *arguments: str, may_fail: bool = False) -> str:
        """What Docker Compose prints."""
        docker = shutil.which("docker")
        assert docker is not None, "docker is not on PATH"
        command = [docker, "compose", "--project-name", "robots-test", "--env-file", str(self._settings), *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert may_fail or done.returncode == 0, done.stderr
        return done.stdout

    def up(self, *services: str) -> None:
        """All of it, or these services; a registry that lacks an image is no reason to do without the others."""
        self.compose("up", "--detach", *services)

    def scale(self, robots: int) -> None:
        self.compose("up", "--detach", "--scale", f"robot={robots}", "robot")

    def containers(self, service: str) -> list[str]:
        return self.compose("ps", "--quiet", service).split()

    def docker(self, *arguments: str) -> str:
        return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout

    def robots(self) -> Counter[str]:
        """How many robots are in which state; empty while there is no run."""
        shown = self.compose("exec", "--no-TTY", "supervisor", "robots", "ps", "--json", may_fail=True)
        return Counter(robot["state"] for robot in json.loads(shown or '{"robots": []}')["robots"])


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    subprocess.run(["sh", ROOT / "deploy/compose/secrets.sh"], check=True)
    settings = {"COMPOSE_PROFILES": "observability", "ROBOTS_ROBOTS": str(DEALT), "ROBOTS_FOR": "30m"}
    stack = Stack(tmp_path, **settings)
    try:
        yield stack
    finally:
        print(stack.compose("logs", "--no-color", "--tail", "40", may_fail=True))
        stack.compose("down", "--volumes", "--timeout", "10", may_fail=True)


def asked(port: int, path: str, **query: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
        return json.load(answer)["data"]


def test_a_run_is_scaled_up_and_down_and_loses_containers_and_every_promise_is_held(
    stack: Stack, tmp_path: Path
) -> None:
    # Given 25 robots
    stack.up("deal", "robot", "relay", "supervisor", "verdict", "metrics", "traces", "jaeger", "prometheus")
    await_true(lambda: stack.robots()["running"] == DEALT, STEP_S, "25 robots")

    # When there are more containers than robots, then those that were there stay, and new robots join
    before = {*stack.containers("robot")}
    stack.scale(MANY)
    assert before <= {*stack.containers("robot")}
    await_true(lambda: stack.robots()["running"] == MANY, STEP_S, "40 robots")

    # When containers are killed, then their robots are found lost, and go on elsewhere as soon as there is room
    stack.docker("kill", *stack.containers("robot")[:FEW])
    await_true(lambda: stack.robots()["waiting"] == FEW, STEP_S, "5 robots that wait")
    stack.scale(MANY)
    await_true(lambda: stack.robots()["running"] == MANY, STEP_S, "40 robots again")

    # When most containers are ended in order, then their robots wait; and they go on when there is room
    stack.scale(FEW)
    await_true(lambda: stack.robots() == Counter(running=FEW, waiting=MANY - FEW), STEP_S, "35 robots that wait")
    stack.scale(MANY)
    await_true(lambda: stack.robots()["running"] == MANY, STEP_S, "40 robots at last")

    # Then no container shows the password
    assert_no_password_is_shown(stack)

    # And when the run is stopped, then every promise is held
    [verdict] = stack.containers("verdict")
    stack.compose("exec", "--no-TTY", "supervisor", "robots", "stop")
    await_true(lambda: stack.docker("inspect", "--format", "{{.State.Running}}", verdict).strip() == "false", RUN_S)
    assert stack.docker("inspect", "--format", "{{.State.ExitCode}}", verdict).strip() == "0", stack.docker(
        "logs", verdict
    )

    # And the record, the traces and the metrics are there
    stack.docker("cp", f"{verdict}:/runs", str(tmp_path / "runs"))
    [record] = [place.parent for place in (tmp_path / "runs").glob("*/verdict.json") if not place.parent.is_symlink()]
    assert json.loads((record / "verdict.json").read_text())["verdict"] == "HELD"
    tags = json.dumps({"gossip.run": record.name})
    search = {"tags": tags, "limit": "20", "lookback": "2d"}
    await_true(lambda: asked(stack.jaeger, "/api/traces", service="lab", operation="run", **search), STEP_S)
    assert asked(stack.jaeger, "/api/traces", service="r00", operation="exchange", **search)
    [total] = asked(stack.prometheus, "/api/v1/query", query="sum(last_over_time(gossip_relay_messages_total[1h]))")[
        "result"
    ]
    assert float(total["value"][1]) > DEALT


def assert_no_password_is_shown(stack: Stack) -> None:
    """Not in the environment, the command or the labels of any container."""
    passwords = [file.read_text() for file in (ROOT / "deploy/compose/secrets").iterdir()]
    shown = stack.docker("inspect", *stack.compose("ps", "--all", "--quiet").split())
    assert not any(password in shown for password in passwords)
