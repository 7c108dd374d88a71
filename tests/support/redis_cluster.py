"""A Redis Cluster of real servers on loopback, in folders of its own. No tests here."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from broker.parent_death import die_with_parent
from broker.streams.embedded import find_binary
from broker.streams.slots import slot_of
from tests.support.waiting import await_true

SLOTS = 16384
NODE_TIMEOUT_MS = 2000
READY_S = 60.0


class ClusterServer:
    """One server of the cluster. Making it starts it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self._bus = _free_ports()
        self.client = redis.Redis(
            host="127.0.0.1", port=self.port, socket_timeout=5, retry=Retry(NoBackoff(), 0), driver_info=None
        )
        folder.mkdir()
        self.start()

    @property
    def host(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def start(self) -> None:
        parent = os.getpid()
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes",
            "maxmemory-policy": "noeviction",
            "repl-diskless-sync-delay": "0",
            "cluster-enabled": "yes",
            "cluster-port": str(self._bus),
            "cluster-node-timeout": str(NODE_TIMEOUT_MS),
            "cluster-require-full-coverage": "no",
        }
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(find_binary()), *(word for name, value in options.items() for word in (f"--{name}", value))],
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(parent),  # noqa: PLW1509
            )

    def ask(self, *command: Any) -> Any:
        """A raw reply. Raises redis-py's errors."""
        return self.client.execute_command(*command)

    def answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except RedisError:
            return False

    def is_replicated(self) -> bool:
        found: dict[str, Any] = self.client.info("replication")
        return found["role"] == "master" or found["master_link_status"] == "up"

    def is_master(self) -> bool:
        """Whether it is one, as it says itself."""
        try:
            return self.client.info("replication")["role"] == "master"
        except RedisError:
            return False

    def cut_off(self, master: ClusterServer) -> None:
        """Let this replica get nothing more of its master's: it stands still, and nothing is on its way to it."""
        self.process.send_signal(signal.SIGSTOP)
        master.ask("CLIENT", "KILL", "TYPE", "replica")

    def start_again(self) -> None:
        """Start it with what it held, and wait until it takes part again."""
        self.start()
        await_true(self.answers, READY_S, what="a server that was started again")
        await_true(lambda: _info(self.ask("CLUSTER", "INFO"))["cluster_state"] == "ok", READY_S, what="its cluster")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.kill()


class RedisCluster:
    """Three masters, each with so many replicas; `url` is for our clients."""

    def __init__(self, replicas: int = 0) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="robots-cluster-"))
        self._stack = ExitStack()
        self._stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
        try:
            self.servers = [self._start(number) for number in range(3 * (1 + replicas))]
            self.masters, self._replicas = self.servers[:3], self.servers[3:]
            self._moved: dict[int, ClusterServer] = {}
            self._join()
        except BaseException:
            self._stack.close()
            raise

    @property
    def url(self) -> str:
        return f"redis-cluster://{','.join(f'127.0.0.1:{server.port}' for server in self.masters)}"

    def __enter__(self) -> RedisCluster:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def master_of(self, key: str) -> ClusterServer:
        """The master of a key's slot, as the slots were dealt and moved."""
        return self._moved.get(slot_of(key), self.masters[slot_of(key) * 3 // SLOTS])

    def others(self, key: str) -> list[ClusterServer]:
        """The masters that do not hold a key's slot."""
        return [master for master in self.masters if master is not self.master_of(key)]

    def begin_move(self, key: str, to: ClusterServer) -> None:
        """Let a key's slot be on its way to another master: what is asked of keys that are not there gets ASK."""
        slot, source = slot_of(key), self.master_of(key)
        to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.ask("CLUSTER", "MYID"))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", to.ask("CLUSTER", "MYID"))

    def move(self, key: str, to: ClusterServer) -> None:
        """Move a key's slot, with all that it holds, to another master."""
        slot, source = slot_of(key), self.master_of(key)
        self.begin_move(key, to)
        for name in source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.ask("MIGRATE", *to.host, name, 0, 5000)
        for server in (to, source, *(other for other in self.masters if other not in (to, source))):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", to.ask("CLUSTER", "MYID"))
        self._moved[slot] = to

    def replica_of(self, master: ClusterServer) -> ClusterServer:
        """Its first replica."""
        return self._replicas[self.masters.index(master)]

    def _start(self, number: int) -> ClusterServer:
        server = ClusterServer(self._folder / str(number))
        self._stack.callback(server.stop)
        return server

    def _join(self) -> None:
        _await_all(self.servers, ClusterServer.answers, "an answer of each server")
        for number, server in enumerate(self.servers):
            server.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            first = self.servers[0]
            if server is not first:
                server.ask("CLUSTER", "MEET", *first.host, first._bus)
        for number, master in enumerate(self.masters):
            first_slot, end = -(-number * SLOTS // 3), -(-(number + 1) * SLOTS // 3)
            master.ask("CLUSTER", "ADDSLOTSRANGE", first_slot, end - 1)
        _await_all(self.servers, self._knows_all, "a cluster in which each server knows all")
        for number, replica in enumerate(self._replicas):
            replica.ask("CLUSTER", "REPLICATE", self.masters[number % 3].ask("CLUSTER", "MYID"))
        _await_all(self.servers, ClusterServer.is_replicated, "replicas that follow their masters")
        _await_all(self.servers, self._lists_replicas, "replicas that all know of")

    def _knows_all(self, server: ClusterServer) -> bool:
        found = _info(server.ask("CLUSTER", "INFO"))
        return found["cluster_known_nodes"] == str(len(self.servers)) and found["cluster_state"] == "ok"

    def _lists_replicas(self, server: ClusterServer) -> bool:
        rows = server.ask("CLUSTER", "SLOTS")
        return len(rows) == 3 and all(len(row) == 3 + len(self._replicas) // 3 for row in rows)


def _await_all(servers: Sequence[ClusterServer], holds: Any, what: str) -> None:
    await_true(lambda: all(holds(server) for server in servers), READY_S, what=what)


def _info(reply: Any) -> dict[str, str]:
    if isinstance(reply, dict):
        return reply
    return dict(line.split(":", 1) for line in reply.decode().splitlines() if ":" in line)


def _free_ports() -> tuple[int, int]:
    """Two ports that no other socket has."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]
