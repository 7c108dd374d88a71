"""Heartbeats as files, and what a health check makes of them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.processes import liveness
from deploy.processes.liveness import beat, forget_heartbeat, keep_heartbeat
from tests.support.checkout import ROOT

OLD_S = 31


@pytest.fixture
def heartbeats(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "run" / "robots"
    keep_heartbeat(None, "none")


def healthy(heartbeats: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", ROOT / "deploy" / "healthy.sh"],
        env={**os.environ, "ROBOTS_HEARTBEATS": str(heartbeats)},
        capture_output=True,
        text=True,
        check=False,
    )


def grow_old(file: Path) -> None:
    os.utime(file, (time.time() - OLD_S,) * 2)


def test_a_process_that_keeps_a_heartbeat_is_healthy_from_its_beginning(heartbeats: Path) -> None:
    # Given a folder that is not there yet
    assert healthy(heartbeats).returncode == 1

    # When a process begins
    keep_heartbeat(heartbeats, "relay")

    # Then
    assert healthy(heartbeats).returncode == 0


def test_one_old_heartbeat_of_several_is_found(heartbeats: Path) -> None:
    # Given two processes
    keep_heartbeat(heartbeats, "rq:0")
    keep_heartbeat(heartbeats, "rq:1")

    # When one of them has not beaten for long
    grow_old(heartbeats / "rq:0")

    # Then the check fails, and names it
    found = healthy(heartbeats)
    assert found.returncode == 1
    assert "rq:0" in found.stdout
    assert "rq:1" not in found.stdout


def test_a_loop_that_goes_on_makes_an_old_heartbeat_young(heartbeats: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a process whose loop was held up
    now_s = [0.0]
    monkeypatch.setattr(liveness.time, "monotonic", lambda: now_s[0])
    keep_heartbeat(heartbeats, "relay")
    grow_old(heartbeats / "relay")

    # When it steps again within a second of its last beat, then later
    beat()
    was_too_soon = healthy(heartbeats).returncode
    now_s[0] += liveness.BEAT_S
    beat()

    # Then the first one cost no call of the kernel, and the second one shows
    assert (was_too_soon, healthy(heartbeats).returncode) == (1, 0)


def test_no_process_is_no_health(heartbeats: Path) -> None:
    # Given a process that has ended for good
    keep_heartbeat(heartbeats, "rq:0")
    forget_heartbeat(heartbeats, "rq:0")

    # When the folder is empty, then
    found = healthy(heartbeats)
    assert found.returncode == 1
    assert "no heartbeat yet" in found.stdout


def test_a_process_without_a_folder_writes_nothing(tmp_path: Path) -> None:
    # Given
    keep_heartbeat(None, "relay")

    # When
    beat()
    forget_heartbeat(None, "relay")

    # Then
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_ends_no_work(heartbeats: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a heartbeat whose folder was removed
    now_s = [0.0]
    monkeypatch.setattr(liveness.time, "monotonic", lambda: now_s[0])
    keep_heartbeat(heartbeats, "relay")
    (heartbeats / "relay").unlink()
    heartbeats.rmdir()

    # When the loop steps, then it raises nothing, and the check fails
    now_s[0] += liveness.BEAT_S
    beat()
    assert healthy(heartbeats).returncode == 1
