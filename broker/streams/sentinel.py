"""Connections to the master that Sentinels name, which may be another server after a failover. What is sent over them
is not known here.

A pool asks the Sentinels whenever it connects, and a connection whose server has become a replica is given up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis.asyncio.sentinel
import redis.sentinel

from broker.streams.address import Location


class MasterPool(redis.sentinel.SentinelConnectionPool):
    """Connections to the master at `location`."""

    def __init__(self, location: Location, options: Mapping[str, Any]) -> None:
        tls = location.login.get("ssl", False)
        self.location = location
        kind: Any = redis.sentinel.Sentinel
        super().__init__(  # type: ignore[no-untyped-call]
            location.master,
            kind(location.hosts, sentinel_kwargs={**location.to_sentinels, **options}),
            connection_class=_TlsConnection if tls else _Connection,
            **_without_tls_flag(location.login),
            **options,
        )


class AsyncMasterPool(redis.asyncio.sentinel.SentinelConnectionPool):
    """The same, for an event loop."""

    def __init__(self, location: Location, options: Mapping[str, Any]) -> None:
        tls = location.login.get("ssl", False)
        self.location = location
        kind = redis.asyncio.sentinel
        manager: Any = kind.Sentinel
        to_sentinels = {name: value for name, value in options.items() if name != "max_connections"}
        super().__init__(  # type: ignore[no-untyped-call]
            location.master,
            manager(location.hosts, sentinel_kwargs={**location.to_sentinels, **to_sentinels}),
            connection_class=kind.SentinelManagedSSLConnection if tls else kind.SentinelManagedConnection,
            **_without_tls_flag(location.login),
            **options,
        )


class _Connection(redis.sentinel.SentinelManagedConnection):
    """One that hangs up when a read is interrupted. redis-py's own goes back to its pool with a reply that is still to
    come, and the next command waits for ever (redis-py, pull request 4292): an RQ worker that waits for a job would not
    end at SIGTERM."""

    def read_response(
        self, disable_decoding: Any = False, *, disconnect_on_error: bool | None = True, **named: Any
    ) -> Any:
        return super().read_response(disable_decoding, disconnect_on_error=disconnect_on_error, **named)


class _TlsConnection(_Connection, redis.sentinel.SentinelManagedSSLConnection):
    pass


def _without_tls_flag(login: Mapping[str, Any]) -> dict[str, Any]:
    """The login for a pool whose connection class says already whether it uses TLS."""
    return {name: value for name, value in login.items() if name != "ssl"}
