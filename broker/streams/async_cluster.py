"""A client of a Redis Cluster, for an event loop: the same as in cluster.py."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NoReturn

import redis.asyncio
import redis.asyncio.client
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from broker.streams.address import Host, Location
from broker.streams.slots import Command, Topology, by_server, key_in


class AsyncClusterClient(redis.asyncio.Redis):
    """A client of the cluster at `location`; each server gets a plain client with `options`. It connects at its first
    command, and follows the rules of ClusterClient."""

    def __init__(self, location: Location, options: Mapping[str, Any]) -> None:
        super().__init__(connection_pool=_AsyncNoPool())
        self.location = location
        self.topology = Topology(location.hosts)
        self._options = {**location.login, **options}
        self._nodes: dict[Host, redis.asyncio.Redis] = {}
        self._learning = asyncio.Lock()

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command to the server that it belongs to; its reply. Raises redis-py's errors."""
        host = await self.owner(key_in(args))
        try:
            with self.topology.noting(host):
                return await self._send(host, args, options)
        except MovedError as moved:
            host = (moved.host or host[0], moved.port)
        with self.topology.noting(host):
            return await self._send(host, args, options)

    def pipeline(
        self,
        transaction: bool = True,
        shard_hint: str | None = None,  # noqa: ARG002 - as in redis.asyncio.Redis
    ) -> redis.asyncio.client.Pipeline:
        """A transaction goes to the server of its first key, and so does what is asked under WATCH; a pipeline without
        one goes to each server in turn."""
        return _AsyncClusterPipeline(self, transaction)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:  # noqa: ARG002 - as in redis.asyncio.Redis
        """Hang up. The next command connects again."""
        for node in self._nodes.values():
            await node.aclose()

    async def owner(self, key: str | bytes | None) -> Host:
        """The master that holds a key, as far as is known. Raises redis-py's errors when no server tells."""
        if not self.topology.is_known:
            async with self._learning:
                if not self.topology.is_known:
                    await self._learn()
        return self.topology.owner(key)

    def node(self, host: Host) -> redis.asyncio.Redis:
        """The plain client of one server."""
        if host not in self._nodes:
            self._nodes[host] = redis.asyncio.Redis(host=host[0], port=host[1], **self._options)
        return self._nodes[host]

    async def _send(self, host: Host, command: Command, options: dict[str, Any]) -> Any:
        return await self.node(host).execute_command(*command, **options)  # type: ignore[no-untyped-call]

    async def _learn(self) -> None:
        silence: RedisError | None = None
        for host in self.topology.to_ask():
            try:
                with self.topology.noting(host):
                    self.topology.learn(await self._send(host, ("CLUSTER", "SLOTS"), {}), host)
                return
            except (RedisConnectionError, RedisTimeoutError) as error:
                silence = error
        assert silence is not None
        raise silence


class _AsyncClusterPipeline(redis.asyncio.client.Pipeline):
    """A pipeline whose connections are those of the server that its commands belong to."""

    def __init__(self, cluster: AsyncClusterClient, transaction: bool) -> None:
        super().__init__(cluster.connection_pool, cluster.response_callbacks, transaction, None)
        self._cluster = cluster
        self._host: Host | None = None

    async def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        with self._cluster.topology.noting(await self._bound(args)):
            return await super().immediate_execute_command(*args, **options)  # type: ignore[no-untyped-call]

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        stack = self.command_stack
        if not stack:
            return await super().execute(raise_on_error)
        if self.is_transaction or self.explicit_transaction:
            with self._cluster.topology.noting(await self._bound(stack[0][0])):
                return await super().execute(raise_on_error)
        try:
            return await self._execute_parts(stack, raise_on_error)
        finally:
            await self.reset()  # type: ignore[no-untyped-call]

    async def _bound(self, command: Command) -> Host:
        """The server that all goes to, from the first command on until the connection is given back."""
        if self._host is None or self.connection is None:
            self._host = await self._cluster.owner(key_in(command))
            self.connection_pool = self._cluster.node(self._host).connection_pool
        return self._host

    async def _execute_parts(self, stack: list[Any], raise_on_error: bool) -> list[Any]:
        await self._cluster.owner(None)  # the masters are known from here on
        replies: list[Any] = [None] * len(stack)
        for host, places in by_server((command for command, _ in stack), self._cluster.topology.owner).items():
            part = self._cluster.node(host).pipeline(transaction=False)
            part.command_stack = [stack[place] for place in places]
            with self._cluster.topology.noting(host):
                for place, reply in zip(places, await part.execute(raise_on_error), strict=True):
                    replies[place] = reply
        return replies


class _AsyncNoPool(redis.asyncio.ConnectionPool):
    """What redis-py would connect with, were this one server."""

    async def get_connection(self, *_args: Any, **_options: Any) -> NoReturn:
        raise NotImplementedError("in a cluster, each command goes to the server of its key")
