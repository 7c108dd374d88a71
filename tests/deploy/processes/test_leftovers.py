"""Which folders in the temporary one are left over, and which are not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from broker.streams import embedded
from broker.streams.embedded import EmbeddedServer
from deploy.processes import leftovers
from deploy.processes.leftovers import FRESH_S, dead_folders, remove_folder
from telemetry.stream import spill
from tests.support.waiting import await_true

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="live runs are for Linux")

KILLED = """
import os, signal, sys
from broker.streams.embedded import EmbeddedServer
server = EmbeddedServer()
print(server.folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


class NoJanitor:
    def folder(self, _path: Path) -> None:
        pass


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of the test's own; it is as if all in it were old."""
    monkeypatch.setattr(leftovers, "places", lambda: (str(tmp_path),))
    monkeypatch.setattr(spill.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(embedded, "places", lambda: (str(tmp_path),))
    monkeypatch.setattr(leftovers, "FRESH_S", 0.0)
    return tmp_path


def made(folder: Path, *files: str) -> Path:
    folder.mkdir(mode=0o700)
    for name in files:
        (folder / name).touch()
    return folder


def test_the_folder_of_a_server_that_died_with_its_killed_parent_is_left_over(temporary: Path) -> None:
    # Given a process that was killed with -9, as a run of tests may be, and its server
    ran = subprocess.run(
        [sys.executable, "-c", KILLED],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(temporary)},
    )
    folder = ran.stdout.strip()
    assert ran.returncode == -signal.SIGKILL
    # When its server is dead, too / Then its folder is found, and can be removed
    await_true(lambda: dead_folders() == [Path(folder)], what="the server's end")
    assert remove_folder(Path(folder))
    assert list(temporary.iterdir()) == []


def test_the_folder_of_a_server_that_lives_is_not(temporary: Path) -> None:
    with EmbeddedServer() as server:
        assert server.folder.parent == temporary
        assert dead_folders() == []
        # Not even while it is stopped
        os.kill(server.pid, signal.SIGSTOP)
        assert dead_folders() == []
        os.kill(server.pid, signal.SIGCONT)


def test_the_spill_folder_of_a_run_is_left_over_once_all_its_processes_are_dead(temporary: Path) -> None:
    # Given a parent's folder for spilled events
    with spill.collecting("7b08e1", NoJanitor()):
        folder = temporary / "robots.7b08e1"
        assert folder.is_dir()
        # While it lives, the folder is not left over
        assert dead_folders() == []
    # When one is there without a process
    made(folder, "r03.abc")
    # Then it is
    assert dead_folders() == [folder]


def test_a_child_that_outlives_the_parent_keeps_the_spill_folder(temporary: Path) -> None:
    # Given a parent whose child lives, and that is killed before it can remove the folder
    folder, children = temporary / "robots.7b08e1", os.pipe()
    parent = os.fork()
    if parent == 0:
        with spill.collecting("7b08e1", NoJanitor()):
            child = os.fork()
            if child == 0:
                signal.pause()
            os.write(children[1], str(child).encode())
            os.kill(os.getpid(), signal.SIGKILL)
    child = int(os.read(children[0], 16))
    os.waitpid(parent, 0)
    # Then the folder is in use
    assert dead_folders() == []
    # When the child is dead, too, then it is left over
    os.kill(child, signal.SIGKILL)
    await_true(lambda: dead_folders() == [folder])


def test_folders_that_are_fresh_or_none_of_ours_stay(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given folders of others: no log of a server in it, open to all, a file, a link, another name
    made(temporary / "robots-novel", "chapter.txt")
    made(temporary / "robots-open", "server.log").chmod(0o755)
    (temporary / "robots-file").touch()
    (temporary / "robots-link").symlink_to(made(temporary / "other", "server.log"))
    made(temporary / "robotsxyz", "server.log")
    # Then none is left over
    assert dead_folders() == []
    # Given one of ours that was changed just now
    folder = made(temporary / "robots-ours", "server.log")
    assert dead_folders() == [folder]
    # Then its process may just begin
    monkeypatch.setattr(leftovers, "FRESH_S", FRESH_S)
    assert dead_folders() == []
