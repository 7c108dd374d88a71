"""How a server is reached: clients of its two planes, and whether the server will do. No commands of ours live here.

Every client made here gives up at the first error. redis-py's own default sends a command again up to ten times, which
stores an `XADD *` twice and reports an explicit id that was stored as refused; only the port that wrote can know what a
lost reply means, so only ports repeat anything (broker/streams/retry.py).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import SSLConnection
from redis.exceptions import AuthenticationError, AuthorizationError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from broker.streams.address import Address, Location, login_in, parse_url, without_login
from broker.streams.async_cluster import AsyncClusterClient
from broker.streams.cluster import ClusterClient
from broker.streams.sentinel import AsyncMasterPool, MasterPool, UnknownMaster

SOCKET_TIMEOUT_S: Final = 3.0
CONNECT_TIMEOUT_S: Final = 2.0
LONGEST_BLOCK_MS: Final = 2000  # below the socket's timeout, or waiting would look like an outage
OLDEST_REDIS: Final = (7, 0)
NOT_LET_IN: Final = "does not let us in"
"""In the text of an UnsupportedServer: the user or the password is wrong, or lacks."""

_HUNG_UP: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)

ControlClient = redis.Redis
"""A client of the server that holds RQ's queue."""

DataClient = redis.Redis
"""A client of the server that holds the streams; of a cluster, a ClusterClient. Every command on it, and every
transaction, touches keys of one slot (keys.py)."""


class UnsupportedServer(Exception):
    """There is no server at the address, or not one that the lab can use; the text says it in one line."""


class ServerAway(UnsupportedServer):
    """It does not answer now, or loads its data; it may be of use later."""


class Server:
    """A lab's server, by a client of each plane: `control` is for RQ alone, `data` is for the streams. Where one server
    has both, they are one client."""

    def __init__(self, control: ControlClient, data: DataClient) -> None:
        self.control = control
        self.data = data

    @classmethod
    def at(cls, address: Address) -> Server:
        """The server at an address. It is connected at its first command. Raises ValueError."""
        data = connect(address.data)
        return cls(data if address.control == address.data else connect(address.control), data)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def check(self) -> None:
        """Raise UnsupportedServer unless both planes answer, and are Redis ≥ 7.0 or Valkey."""
        check_server(self.data)
        if self.control is not self.data:
            check_server(self.control)

    def close(self) -> None:
        """Hang up. The next command connects again."""
        self.data.close()
        self.control.close()


def connect(url: str) -> redis.Redis:
    """A client for processes without an event loop. It connects at its first command. Raises ValueError."""
    location = parse_url(url)
    options = _options(Retry(NoBackoff(), 0))
    match location.kind:
        case "sentinel":
            return redis.Redis(connection_pool=MasterPool(location, options))
        case "cluster":
            return ClusterClient(location, options)
    return redis.Redis(**location.login, **options)


def connect_async(url: str) -> redis.asyncio.Redis:
    """A client for an event loop. It connects at its first command. Raises ValueError."""
    return _async_client(parse_url(url))


def async_twin(client: redis.Redis | redis.asyncio.Redis, connections: int | None = None) -> redis.asyncio.Redis:
    """A client of the same server for an event loop, with our rules and not those of `client`: a robot inside a job
    may have its RQ worker's client alone. `connections` bounds how many it opens at most, to each server."""
    return _async_client(location_of(client), connections)


def location_of(client: redis.Redis | redis.asyncio.Redis) -> Location:
    """Where a client's server is. The client may be of any origin."""
    if isinstance(client, ClusterClient | AsyncClusterClient):
        return client.location
    pool = client.connection_pool
    if isinstance(pool, MasterPool | AsyncMasterPool):
        return pool.location
    tls = issubclass(pool.connection_class, (SSLConnection, redis.asyncio.SSLConnection))
    return Location(login_in(pool.connection_kwargs, tls))


async def server_for_async(client: redis.asyncio.Redis, key: str) -> redis.asyncio.Redis:
    """A client of the one server that holds `key`, for what is asked of that server itself. Raises redis-py's errors
    when a cluster does not tell which it is."""
    return client.node(await client.owner(key)) if isinstance(client, AsyncClusterClient) else client


def servers_of(client: redis.Redis) -> list[redis.Redis]:
    """A client of each server: of all masters of a cluster, or the client itself. Raises redis-py's errors."""
    return client.masters() if isinstance(client, ClusterClient) else [client]


def check_server(client: redis.Redis) -> None:
    """Raise UnsupportedServer unless a server answers that is Redis ≥ 7.0, or Valkey; ServerAway when none answers. In
    a cluster, all masters must."""
    where = describe(client)
    try:
        answers: Sequence[Mapping[str, Any]] = [server.info("server") for server in servers_of(client)]
    except (AuthenticationError, AuthorizationError) as error:
        raise UnsupportedServer(f"the server at {where} {NOT_LET_IN}: {error}") from None
    except (RedisConnectionError, RedisTimeoutError) as error:
        kind = UnsupportedServer if _is_lasting(error, location_of(client)) else ServerAway
        raise kind(f"no usable server at {where}: {error}") from None
    except RedisError as error:
        raise UnsupportedServer(f"no usable server at {where}: {error}") from None
    for answer in answers:
        version = str(answer.get("redis_version", ""))
        if _numbers(version) < OLDEST_REDIS:
            raise UnsupportedServer(
                f"the server at {where} is Redis {version or 'of no version'}; needed is Redis 7.0 or Valkey"
            )
        is_member = "cluster" in (answer.get("redis_mode"), answer.get("server_mode"))  # Redis', Valkey's
        if is_member and not isinstance(client, ClusterClient):
            raise UnsupportedServer(
                f"the server at {where} is one of a Redis Cluster, which can hold the streams alone: redis-cluster://"
            )


def describe(client: redis.Redis | redis.asyncio.Redis) -> str:
    """The client's address for people: no user, no password."""
    return without_login(location_of(client))


def block_ms(wait_us: int) -> int | None:
    """The BLOCK of a command that may wait `wait_us`: at most what the socket's timeout allows, and None (not to be
    given at all) below a millisecond, because 0 would mean for ever."""
    return min(wait_us // 1000, LONGEST_BLOCK_MS) or None


def _async_client(location: Location, connections: int | None = None) -> redis.asyncio.Redis:
    options = {**_options(AsyncRetry(NoBackoff(), 0)), "max_connections": connections}
    match location.kind:
        case "sentinel":
            return redis.asyncio.Redis(connection_pool=AsyncMasterPool(location, options))
        case "cluster":
            return AsyncClusterClient(location, options)
    return redis.asyncio.Redis(**location.login, **options)


def _is_lasting(error: BaseException | None, location: Location) -> bool:
    """Whether it is of no use to wait: the server is not the one that is meant, or our own certificates are not
    there. A server that ends in the middle of a handshake may come back."""
    has_tls = bool(location.login.get("ssl"))
    while error is not None:
        if isinstance(error, _HUNG_UP):
            return False
        if isinstance(error, ssl.SSLError | UnknownMaster) or (has_tls and isinstance(error, FileNotFoundError)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _options(retry: Retry | AsyncRetry) -> dict[str, Any]:
    return {
        "retry": retry,
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        "driver_info": None,  # telling the server our library's version would cost every connection two commands
    }


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split(".")[:2] if number.isdigit())
