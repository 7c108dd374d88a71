"""A folder of its own for a live run under test, and everything that the run left in it. No tests here."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
import uuid
from functools import partial, reduce
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from broker.parent_death import die_with_parent
from telemetry.events import Stamped
from telemetry.view import View, fold
from tests.support.waiting import await_true

LIVE: Final = [
    pytest.mark.live,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="live runs are for Linux"),
    pytest.mark.timeout(240),
]
"""The marks of tests of whole runs. On a busy machine such a test takes several times as long as on an idle one."""

UNTIL_STOPPED: Final = ("--for", "10m")
"""The length of a run on which a test acts from outside. The test ends it when it has seen its facts, so that the run
is never over before, however slow the machine is."""

_decode: Final = msgspec.json.Decoder(Stamped).decode

END_S: Final = 120
"""The longest wait for the end of a command."""


def not_held(result: dict[str, Any]) -> dict[str, Any]:
    """What speaks against a run."""
    return {name: promise for name, promise in result.get("promises", {}).items() if promise["state"] != "HELD"}


class Place:
    """A folder to run in, a temporary folder of its own, and a mark by which every process of a run is found."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
        self.mark = uuid.uuid4().hex
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("ROBOTS_", "OTEL_"))}
        self.started: list[subprocess.Popen[bytes]] = []
        self.program = [sys.executable, "-m", "deploy"]
        self.environment = {**clean, "LAB_TEST_MARK": self.mark, "TMPDIR": str(self.temporary)}

    def start(self, *arguments: str, terminal: int | None = None) -> subprocess.Popen[bytes]:
        """A command; with `terminal`, the program's end of one, a person can type at its standard input."""
        process = subprocess.Popen(
            [*self.program, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL if terminal is None else terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=partial(_begin, os.getpid(), terminal is not None),  # noqa: PLW1509
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str) -> tuple[int, dict[str, Any], str]:
        """Exit code, result and progress of a whole run."""
        return self.result_of(self.start("run", "--json", *arguments))

    def result_of(self, process: subprocess.Popen[bytes]) -> tuple[int, dict[str, Any], str]:
        """Exit code, result and progress of a run, when it has ended."""
        out, err = process.communicate(timeout=END_S)
        return process.returncode, json.loads(out) if out else {}, err.decode()

    def stop(self, process: subprocess.Popen[bytes]) -> tuple[int, dict[str, Any], str]:
        """End a run in order when it could end by itself, but for its length; as `result_of`."""
        self.await_done()
        process.terminate()
        return self.result_of(process)

    def await_done(self) -> None:
        """Until the secret is written, and every robot is complete."""
        await_true(lambda: self.view().is_done, what="the end of the gossip")

    def await_event(self, name: str, since_us: int = 0, **wanted: object) -> None:
        """Until the run's parent has recorded such an event, of after `since_us` (wall clock)."""

        def is_meant(row: dict[str, Any]) -> bool:
            fields = {**row, **row["event"]}
            return row["wall_us"] > since_us and all(fields.get(key) == value for key, value in wanted.items())

        wanted["name"] = name
        await_true(lambda: any(map(is_meant, self.events())), what=str(wanted))

    def await_traffic(self) -> None:
        """Until a message has come to a robot that was sent from now on."""
        now_us = time.time_ns() // 1000
        self.await_event("message.sent", now_us)
        self.await_event("message.received", now_us)

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

    def clear(self) -> None:
        """End what still runs here, by force."""
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        for process in self.started:
            process.wait(timeout=30)
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        shutil.rmtree(self.temporary, ignore_errors=True)

    def is_clean(self) -> bool:
        """Nothing is left: no process, no socket, no temporary folder, no live.json."""
        return not self.processes() and not any(self.temporary.iterdir())

    @property
    def run_id(self) -> str:
        """The newest run's."""
        return (self.folder / "runs/latest").resolve().name

    def events(self) -> list[dict[str, Any]]:
        """The rows of the only run's events.jsonl so far."""
        return [json.loads(line) for line in self._lines()]

    def rows(self, file: str) -> list[dict[str, Any]]:
        """The rows of a file of the only run's record."""
        [path] = self.folder.glob(f"runs/latest/{file}")
        return [json.loads(line) for line in path.read_text().splitlines()]

    def view(self) -> View:
        """The only run so far, as its parent sees it."""
        return reduce(fold, map(_decode, self._lines()), View())

    def _lines(self) -> list[bytes]:
        [text] = [path.read_bytes() for path in self.folder.glob("runs/latest/events.jsonl")] or [b""]
        return text.splitlines()[: text.count(b"\n")]  # the last one may be in the middle of being written


def _begin(tests: int, has_terminal: bool) -> None:
    """As a terminal starts a command; but it ends with the process of the tests, however that ends."""
    if has_terminal:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    die_with_parent(tests)


def pids(place: Place, prefix: str) -> list[int]:
    """The pids of the children that the parent started, by the beginning of their names."""
    started = [row["event"] for row in place.events() if row["event"]["name"] == "process.started"]
    return [event["pid"] for event in started if event["process"].startswith(prefix)]


def died(place: Place) -> list[tuple[str, int, int]]:
    """The deaths that were reported: name, pid, status."""
    deaths = [row["event"] for row in place.events() if row["event"]["name"] == "process.died"]
    return [(event["process"], event["pid"], event["status"]) for event in deaths]
