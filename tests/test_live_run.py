"""The live lab, end to end: a real server, real RQ workers, a real relay, and what is left when it is over: nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from waiting import await_true

from broker.embedded import EmbeddedServer
from deploy.settings import DEFAULT_SECRET

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="live runs are for Linux"),
]

PROMISES = [
    "once",
    "right",
    "monotonic",
    "unique",
    "idempotent",
    "patient",
    "convergent",
    "honest faults",
    "accounted",
]


class Place:
    """A folder to run in, a temporary folder of its own, and a mark by which every process of a run is found."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
        self.mark = uuid.uuid4().hex
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ROBOTS_")}
        self.started: list[subprocess.Popen[bytes]] = []
        self.environment = {**clean, "LAB_TEST_MARK": self.mark, "TMPDIR": str(self.temporary)}

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  as a terminal starts it
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str) -> tuple[int, dict[str, Any], str]:
        """Exit code, result and progress of a whole run."""
        process = self.start("run", "--json", *arguments)
        out, err = process.communicate(timeout=55)
        return process.returncode, json.loads(out) if out else {}, err.decode()

    def processes(self) -> dict[int, str]:
        """Living processes of this place: pid → command line."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and self.mark.encode() in (entry / "environ").read_bytes():
                    state = (entry / "stat").read_bytes().rpartition(b")")[2].split()[0]
                    if state != b"Z":
                        found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
        return found

    def is_clean(self) -> bool:
        """Nothing is left: no process, no socket, no temporary folder, no live.json."""
        return not self.processes() and not any(self.temporary.iterdir())

    def events(self) -> list[dict[str, Any]]:
        """What the record of the only run tells so far."""
        rows = []
        for path in self.folder.glob("runs/latest/events.jsonl"):
            for line in path.read_text().splitlines():
                try:
                    rows.append(json.loads(line))
                except json.JSONDecodeError:
                    break  # being written
        return rows


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    for pid in place.processes():
        os.kill(pid, signal.SIGKILL)
    for process in place.started:
        process.communicate(timeout=10)
    shutil.rmtree(place.temporary, ignore_errors=True)


def pids(place: Place, prefix: str) -> list[int]:
    """The pids of the children that the parent started, by the beginning of their names."""
    started = [row["event"] for row in place.events() if row["event"]["name"] == "process.started"]
    return [event["pid"] for event in started if event["process"].startswith(prefix)]


def test_the_default_run_is_held_and_leaves_only_its_record(place: Place) -> None:
    code, result, progress = place.run("--output", "out.txt")

    assert code == 0, (result, progress)
    assert (result["verdict"], result["ended"], result["robots"], result["parts"]) == ("HELD", "complete", 6, 11)
    assert {name: finding["state"] for name, finding in result["promises"].items()} == dict.fromkeys(PROMISES, "HELD")
    assert result["winner"] in {f"r{n:02d}" for n in range(6)}
    assert result["messages"]["lost"] > 0
    assert (place.folder / "out.txt").read_text() == DEFAULT_SECRET
    assert (place.folder / result["record"] / "secret.txt").read_text() == DEFAULT_SECRET
    assert f"seed {result['seed']}" in progress
    assert place.is_clean(), (place.processes(), list(place.temporary.iterdir()))
    assert sorted(path.name for path in place.folder.iterdir()) == ["out.txt", "runs"]


def test_a_secret_of_any_shape_comes_back_byte_for_byte(place: Place) -> None:
    secret = "\n  Zwei Sätze.  Mit   Lücken!\t\n\nUnd ein 日本語 Absatz.\r\n " + "wort " * 2000 + "\n"
    (place.folder / "secret").write_bytes(secret.encode())

    code, result, progress = place.run("--secret-file", "secret", "-n", "4", "--copies", "2", "--loss", ".1")

    assert code == 0, (result, progress)
    assert (place.folder / result["record"] / "secret.txt").read_bytes() == secret.encode()
    assert place.is_clean()


def test_a_server_that_is_not_ours_is_left_as_it_was(place: Place) -> None:
    with EmbeddedServer() as server, redis.Redis.from_url(server.url) as client:
        code, result, progress = place.run("--redis-url", server.url, "-n", "3", "--preset", "calm")

        assert code == 0, (result, progress)
        assert [key for key in client.keys("*") if key.startswith(b"lab:") or b"robot-" in key] == []
    assert place.is_clean()


def test_ctrl_c_ends_in_order_with_a_record_and_leaves_nothing(place: Place) -> None:
    # Given a run that goes on
    process = place.start("run", "--json", "--for", "60s")
    await_true(lambda: any(row["event"]["name"] == "secret.written" for row in place.events()))

    # When a person presses Ctrl-C: the terminal signals the whole group
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=20)

    # Then it ends with 130 and a verdict, and nothing is left
    result = json.loads(out)
    assert process.returncode == 130
    assert (result["ended"], result["verdict"]) == ("interrupted", "HELD")
    assert place.is_clean()


def test_ctrl_c_while_robots_are_being_born_leaves_nothing(place: Place) -> None:
    process = place.start("run", "-n", "8")
    await_true(lambda: len(place.processes()) > 3)

    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=20)

    assert process.returncode == 130
    await_true(place.is_clean)


def test_sigterm_of_the_parent_stops_the_run_in_order(place: Place) -> None:
    process = place.start("run", "--json", "--for", "60s")
    await_true(lambda: any(row["event"]["name"] == "secret.written" for row in place.events()))

    process.terminate()
    out, _ = process.communicate(timeout=20)

    assert json.loads(out)["ended"] == "stopped"
    assert process.returncode == 0
    assert place.is_clean()


def test_kill_9_of_the_parent_leaves_no_process_no_socket_no_folder(place: Place) -> None:
    process = place.start("run", "--for", "60s")
    await_true(lambda: any(row["event"]["name"] == "run.started" for row in place.events()))
    live = place.folder / "runs/latest/live.json"
    assert json.loads(live.read_text())["pid"] == process.pid
    assert live.stat().st_mode & 0o777 == 0o600
    assert len(place.processes()) > 12, "6 RQ workers, their horses, relay, server, janitor, parent"

    process.kill()
    process.communicate(timeout=20)

    await_true(place.is_clean)
    assert not list(place.folder.glob("runs/*/live.json"))


def test_a_relay_killed_again_and_again_loses_nothing(place: Place) -> None:
    # Given a run with much traffic held at the relay
    process = place.start("run", "--json", "--for", "4s", "--delay", "20ms..80ms")
    await_true(lambda: any(row["event"]["name"] == "run.started" for row in place.events()))

    # When its relay is killed three times
    for number in range(1, 4):
        await_true(lambda number=number: len(pids(place, "relay:")) == number)
        time.sleep(0.4)
        os.kill(pids(place, "relay:")[-1], signal.SIGKILL)

    # Then every envelope still has its one fate, and the record adds up
    out, err = process.communicate(timeout=40)
    result = json.loads(out)
    assert process.returncode == 0, (result["promises"], err.decode())
    assert result["promises"]["accounted"]["state"] == "HELD"
    assert place.is_clean()


def test_a_robot_killed_in_the_middle_is_born_again_with_all_it_knew(place: Place) -> None:
    # Given a run that goes on, and the horses of two RQ workers
    process = place.start("run", "--json", "--for", "5s")
    await_true(lambda: any(row["event"]["name"] == "run.started" for row in place.events()))
    horses = [child for worker in pids(place, "rq:")[:2] for child in _children(worker)]
    assert len(horses) == 2

    # When they are killed
    for horse in horses:
        os.kill(horse, signal.SIGKILL)

    # Then their RQ workers run them again, as second lives that forgot nothing
    out, err = process.communicate(timeout=40)
    result = json.loads(out)
    assert process.returncode == 0, (result["promises"], err.decode())
    born = [row for row in place.events() if row["event"]["name"] == "robot.born" and row["incarnation"] == 2]
    assert len(born) == 2
    assert result["restarts"] == 2
    assert place.is_clean()


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
