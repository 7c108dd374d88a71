"""Real Redis servers of a test's own, on loopback ports: nodes, and a master with a replica under three Sentinels.
No tests here.

The program is the one that LAB_REDIS_SERVER names, or else the one that a private server of the lab would use.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import redis
from redis.exceptions import RedisError

from broker.parent_death import die_with_parent
from broker.streams.embedded import find_binary
from tests.support.redis_users import NODES_PASSWORD, write_users
from tests.support.waiting import await_true

PROGRAM: Final = "LAB_REDIS_SERVER"
"""The environment's name for the program of a Redis server."""

DOWN_AFTER_MS: Final = 2000
MASTER: Final = "lab"
SENTINELS: Final = 3
HOST: Final = "127.0.0.1"


def program() -> Path:
    """The program of a server. It is a Sentinel, too."""
    named = os.environ.get(PROGRAM)
    return Path(named) if named else find_binary()


class Node:
    """One server process on a port of its own, with a folder of its own in `folder`."""

    def __init__(self, folder: Path, *options: str, user: str = "") -> None:
        """Does not wait until the server answers. `{port}` in an option stands for its port. The test itself is
        `user` there, who needs no password."""
        self.port = free_port()
        self.folder = folder / str(self.port)
        self.folder.mkdir()
        self._user = user
        self._options = [option.format(port=self.port) for option in options]
        self._process = self._spawn()

    def living_log(self) -> str:
        """All that it has logged. Fails when its process has ended."""
        log = (self.folder / "log").read_text(errors="replace")
        assert self._process.poll() is None, log
        return log

    def client(self) -> redis.Redis:
        """A plain client, for the test's own questions."""
        login: dict[str, Any] = {"username": self._user, "password": "any"} if self._user else {}
        return redis.Redis(host=HOST, port=self.port, socket_timeout=5, **login)

    def answers(self) -> bool:
        """Whether it answers. Fails when its process has ended."""
        self.living_log()
        with suppress(RedisError), self.client() as client:
            return bool(client.ping())
        return False

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self._process.kill()
        self._process.wait()

    def start_again(self) -> None:
        """Start it once more, with what it has on disk."""
        self._process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        return _spawn(self.folder, "--port", str(self.port), *_DURABLE, *self._options)  # of two ports the last counts


_DURABLE: Final = ("--bind", HOST, "--appendonly", "yes", "--appendfsync", "everysec", "--save", "")


def free_port() -> int:
    """A port that no process listens at."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port: int = free.getsockname()[1]
        return port


def _spawn(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    parent = os.getpid()
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [str(program()), *arguments, "--dir", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: die_with_parent(parent),  # noqa: PLW1509
        )


class Sentinels:
    """A master, a replica of it, and three Sentinels that watch them. They end with the `with` block."""

    def __init__(self, folder: Path, *options: str, has_users: bool = False) -> None:
        """`options` are both servers'. With `has_users` they let in the users that the lab ships."""
        replication = ["--repl-diskless-sync-delay", "0", *options]
        if has_users:
            users = ("--aclfile", str(write_users(folder)))
            replication += [*users, "--masteruser", "replica", "--masterauth", NODES_PASSWORD]
        user = "admin" if has_users else ""
        first = Node(folder, *replication, user=user)
        self.nodes = (first, Node(folder, *replication, "--replicaof", HOST, str(first.port), user=user))
        self._has_users = has_users
        self._folder = folder
        self._watchers: list[tuple[int, subprocess.Popen[bytes]]] = []
        try:
            self._begin(first)
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """Where a lab finds the master."""
        return f"redis+sentinel://{'robots@' * self._has_users}{self.addresses}/{MASTER}"

    @property
    def addresses(self) -> str:
        """Of the Sentinels, with commas between them."""
        return ",".join(f"{HOST}:{port}" for port, _ in self._watchers)

    def master(self) -> Node:
        """The node that the first Sentinel names."""
        with self._ask(self._watchers[0][0]) as sentinel:
            _, port = sentinel.sentinel_get_master_addr_by_name(MASTER)
        return next(node for node in self.nodes if node.port == port)

    def other(self, node: Node) -> Node:
        """The one that is not `node`."""
        return next(other for other in self.nodes if other is not node)

    def await_master(self, node: Node) -> None:
        """Until all Sentinels name `node`, and it takes writes."""

        def is_named() -> bool:
            with suppress(RedisError):
                return all(self._named_by(port) == node.port for port, _ in self._watchers)
            return False

        await_true(is_named, what=f"the failover to {node.port}")

    def await_replica(self, node: Node) -> None:
        """Until `node` is a replica that has all that its master has."""
        await_true(lambda: _is_in_step(node), what=f"{node.port} in step with its master")

    def swap(self) -> Node:
        """Have both nodes, in good health, change their roles; the one that was the master."""
        old = self.master()
        with self._ask(self._watchers[0][0]) as sentinel:
            sentinel.sentinel_failover(MASTER)
        self.await_master(self.other(old))
        return old

    def stop_watchers(self) -> None:
        """Kill all Sentinels."""
        for _, process in self._watchers:
            process.kill()
            process.wait()

    def stop(self) -> None:
        """Kill everything."""
        self.stop_watchers()
        for node in self.nodes:
            node.kill()

    def __enter__(self) -> Sentinels:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    def _begin(self, first: Node) -> None:
        for node in self.nodes:
            await_true(node.answers, what="a Redis server")
        self.await_replica(self.other(first))
        for _ in range(SENTINELS):
            self._watchers.append(self._watch(first.port))
        await_true(self._are_acquainted, what="three Sentinels that know each other")

    def _watch(self, master: int) -> tuple[int, subprocess.Popen[bytes]]:
        port = free_port()
        folder = self._folder / f"sentinel-{port}"
        folder.mkdir()
        settings = folder / "sentinel.conf"
        settings.write_text(
            f"port {port}\nbind {HOST}\n"
            f"sentinel monitor {MASTER} {HOST} {master} 2\n"
            f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {MASTER} 6000\n"
            + f"sentinel auth-user {MASTER} sentinel\nsentinel auth-pass {MASTER} {NODES_PASSWORD}\n"
            * self._has_users
        )
        return port, _spawn(folder, str(settings), "--sentinel")

    def _are_acquainted(self) -> bool:
        with suppress(RedisError):
            return all(self._knows_all(port) for port, _ in self._watchers)
        return False

    def _knows_all(self, port: int) -> bool:
        with self._ask(port) as sentinel:
            known: dict[str, Any] = sentinel.sentinel_master(MASTER)
            return int(known["num-other-sentinels"]) == SENTINELS - 1 and int(known["num-slaves"]) == 1

    def _named_by(self, port: int) -> int:
        with self._ask(port) as sentinel:
            return int(sentinel.sentinel_get_master_addr_by_name(MASTER)[1])

    @contextmanager
    def _ask(self, port: int) -> Iterator[redis.Redis]:
        with redis.Redis(host=HOST, port=port, socket_timeout=2) as sentinel:
            yield sentinel


def _is_in_step(node: Node) -> bool:
    with suppress(RedisError), node.client() as client:
        state: dict[str, Any] = client.info("replication")
        return state["role"] == "slave" and state["master_link_status"] == "up" and not state["master_sync_in_progress"]
    return False
