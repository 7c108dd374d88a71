"""A folder of its own for a live run under test, and everything that the run left in it. No tests here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any


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

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [*self.program, *arguments],
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
        """The rows of the only run's events.jsonl so far."""
        rows = []
        for path in self.folder.glob("runs/latest/events.jsonl"):
            for line in path.read_text().splitlines():
                try:
                    rows.append(json.loads(line))
                except json.JSONDecodeError:
                    break  # being written
        return rows


def pids(place: Place, prefix: str) -> list[int]:
    """The pids of the children that the parent started, by the beginning of their names."""
    started = [row["event"] for row in place.events() if row["event"]["name"] == "process.started"]
    return [event["pid"] for event in started if event["process"].startswith(prefix)]


def died(place: Place) -> list[tuple[str, int, int]]:
    """The deaths that were reported: name, pid, status."""
    deaths = [row["event"] for row in place.events() if row["event"]["name"] == "process.died"]
    return [(event["process"], event["pid"], event["status"]) for event in deaths]
