"""The users of Redis in containers and on Kubernetes, on a real server: who may do what, and what survives a crash."""

from __future__ import annotations

import hashlib
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from broker.streams.embedded import find_binary
from tests.support.checkout import ROOT
from tests.support.waiting import await_true

USERS = {"compose": ROOT / "deploy/compose/redis/users.acl", "kubernetes": ROOT / "deploy/k8s/base/redis/users.acl"}
PASSWORD = "correct horse"

FORBIDDEN = (
    *("FLUSHALL", "CONFIG GET *", "KEYS *", "ACL LIST", "SHUTDOWN", "REPLICAOF NO ONE", "SCRIPT FLUSH", "MONITOR"),
    *("CLIENT KILL TYPE normal", "SET foreign 1", "PUBLISH rq:pubsub:1 stop", "FUNCTION LIST", "DEBUG SLEEP 0"),
)

pytestmark = pytest.mark.live

either = pytest.mark.parametrize("place", ["compose", pytest.param("kubernetes", marks=pytest.mark.long)])


def rights_of(user: str, place: str) -> str:
    [line] = [line for line in USERS[place].read_text().splitlines() if line.startswith(f"user {user} ")]
    return re.sub(r"#@[\w-]+@", "#…", line)


def client(folder: Path, user: str = "robots", password: str = PASSWORD) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(folder / "s"), username=user, password=password)


@contextmanager
def running(folder: Path, place: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server with these users, killed at the end; what it wrote is on disk before it answers."""
    digest = hashlib.sha256(PASSWORD.encode()).hexdigest()
    (folder / "users.acl").write_text(re.sub(r"@[\w-]+@", digest, USERS[place].read_text()))
    options = {"port": "0", "unixsocket": "s", "appendonly": "yes", "appendfsync": "always", "aclfile": "users.acl"}
    command = [str(find_binary()), *(word for name, value in options.items() for word in (f"--{name}", value))]
    with (folder / "log").open("ab") as log, subprocess.Popen(command, cwd=folder, stdout=log) as server:
        try:
            await_true(lambda: answers(folder))
            yield server
        finally:
            server.send_signal(signal.SIGKILL)


def answers(folder: Path) -> bool:
    try:
        return bool(client(folder).ping())
    except RedisError:
        return False


@either
def test_a_transaction_survives_a_crash(place: str, tmp_path: Path) -> None:
    # Given a server that has a transaction on disk
    with running(tmp_path, place), client(tmp_path) as robots, robots.pipeline(transaction=True) as transaction:
        transaction.set("rq:job", "queued")
        transaction.xadd("lab:orders", {"order": "go"})
        transaction.execute()

    # When it was killed and is started again
    with running(tmp_path, place), client(tmp_path) as robots:
        # Then nothing is lost
        assert (robots.get("rq:job"), robots.xlen("lab:orders")) == (b"queued", 1)


@either
def test_no_user_is_let_in_without_a_password_but_to_ask_whether_the_server_lives(place: str, tmp_path: Path) -> None:
    with running(tmp_path, place):
        with pytest.raises(RedisError), redis.Redis(unix_socket_path=str(tmp_path / "s")) as anonymous:
            anonymous.ping()
        for user in ("default", "robots"):
            with pytest.raises(AuthenticationError):
                client(tmp_path, user, "wrong").ping()
        with client(tmp_path, "probe", "any") as probe:
            assert probe.ping()
            with pytest.raises(NoPermissionError):
                probe.get("rq:job")


@either
@pytest.mark.parametrize(
    "command",
    FORBIDDEN,
)
def test_robots_may_not_harm_the_server(place: str, command: str, tmp_path: Path) -> None:
    with (
        running(tmp_path, place),
        client(tmp_path) as robots,
        pytest.raises(RedisError, match=r"(?i)permission|allowed"),
    ):
        robots.execute_command(*command.split())


def test_robots_have_the_same_rights_in_both_places() -> None:
    assert rights_of("robots", "compose") == rights_of("robots", "kubernetes")
    assert rights_of("default", "compose") == rights_of("default", "kubernetes")
