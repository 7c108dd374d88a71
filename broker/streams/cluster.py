"""A client of a Redis Cluster, for processes without an event loop: plain clients of its servers, and which of them a
command goes to. What the commands mean is not known here.

redis-py has a client for clusters, too, and these rules of ours forbid it. It sends commands of a pipeline again whose
replies were lost. It asks one server which keys a read has before each read, so that the death of that server stops
the reads of all others. And when one server does not answer, it cuts the connections to all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import redis
import redis.client
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from broker.streams.address import Host, Location
from broker.streams.slots import Command, Topology, by_server, key_in


class ClusterClient(redis.Redis):
    """A client of the cluster at `location`; each server gets a plain client with `options`. It connects at its first
    command.

    A command that MOVED refuses is sent once more, to the server that this names. Nothing else is repeated: after any
    other error, the next command learns the masters anew. While a slot is on its way to another server, its commands
    are refused (ASK, TRYAGAIN).
    """

    def __init__(self, location: Location, options: Mapping[str, Any]) -> None:
        super().__init__(connection_pool=_NoPool())
        self.location = location
        self.topology = Topology(location.hosts)
        self._options = {**location.login, **options}
        self._nodes: dict[Host, redis.Redis] = {}

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command to the server that it belongs to; its reply. Raises redis-py's errors."""
        host = self.owner(key_in(args))
        try:
            with self.topology.noting(host):
                return self._send(host, args, options)
        except MovedError as moved:
            host = (moved.host or host[0], moved.port)
        with self.topology.noting(host):
            return self._send(host, args, options)

    def pipeline(
        self,
        transaction: bool = True,
        shard_hint: str | None = None,  # noqa: ARG002 - as in redis.Redis
    ) -> redis.client.Pipeline:
        """A transaction goes to the server of its first key, and so does what is asked under WATCH; a pipeline without
        one goes to each server in turn."""
        return ClusterPipeline(self, transaction)

    def close(self) -> None:
        """Hang up. The next command connects again."""
        for node in self._nodes.values():
            node.close()

    def owner(self, key: str | bytes | None) -> Host:
        """The master that holds a key, as far as is known. Raises redis-py's errors when no server tells."""
        if not self.topology.is_known:
            self._learn()
        return self.topology.owner(key)

    def masters(self) -> list[redis.Redis]:
        """A plain client of each master. Raises redis-py's errors when no server tells which there are."""
        self.owner(None)
        return [self.node(host) for host in self.topology.masters]

    def node(self, host: Host) -> redis.Redis:
        """The plain client of one server."""
        if host not in self._nodes:
            self._nodes[host] = redis.Redis(host=host[0], port=host[1], **self._options)
        return self._nodes[host]

    def _send(self, host: Host, command: Command, options: dict[str, Any]) -> Any:
        return self.node(host).execute_command(*command, **options)  # type: ignore[no-untyped-call]

    def _learn(self) -> None:
        silence: RedisError | None = None
        for host in self.topology.to_ask():
            try:
                with self.topology.noting(host):
                    self.topology.learn(self._send(host, ("CLUSTER", "SLOTS"), {}), host)
                return
            except (RedisConnectionError, RedisTimeoutError) as error:
                silence = error
        assert silence is not None
        raise silence


class ClusterPipeline(redis.client.Pipeline):
    """A pipeline whose connections are those of the server that its commands belong to."""

    def __init__(self, cluster: ClusterClient, transaction: bool) -> None:
        super().__init__(cluster.connection_pool, cluster.response_callbacks, transaction, None)
        self._cluster = cluster
        self._is_transaction = transaction
        self._host: Host | None = None

    def turn_to(self, key: str) -> None:
        """Have all that follows go to the server that holds `key`. Raises redis-py's errors."""
        self._bound(("EXISTS", key))

    def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        with self._cluster.topology.noting(self._bound(args)):
            return super().immediate_execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        stack = self.command_stack
        if not stack:
            return super().execute(raise_on_error)
        if self._is_transaction or self.explicit_transaction:
            with self._cluster.topology.noting(self._bound(stack[0][0])):
                return super().execute(raise_on_error)
        try:
            return self._execute_parts(stack, raise_on_error)
        finally:
            self.reset()

    def _bound(self, command: Command) -> Host:
        """The server that all goes to, from the first command on until the connection is given back."""
        if self._host is None or self.connection is None:
            self._host = self._cluster.owner(key_in(command))
            self.connection_pool = self._cluster.node(self._host).connection_pool
        return self._host

    def _execute_parts(self, stack: list[Any], raise_on_error: bool) -> list[Any]:
        replies: list[Any] = [None] * len(stack)
        for host, places in by_server((command for command, _ in stack), self._cluster.owner).items():
            part = self._cluster.node(host).pipeline(transaction=False)
            part.command_stack = [stack[place] for place in places]
            with self._cluster.topology.noting(host):
                for place, reply in zip(places, part.execute(raise_on_error), strict=True):
                    replies[place] = reply
        return replies


class _NoPool(redis.ConnectionPool):
    """What redis-py would connect with, were this one server."""

    def get_connection(self, *_args: Any, **_options: Any) -> NoReturn:
        raise NotImplementedError("in a cluster, each command goes to the server of its key")
