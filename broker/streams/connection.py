"""How a server is reached: addresses, clients, and whether the server will do. No commands of ours live here.

Every client made here gives up at the first error. redis-py's own default sends a command again up to ten times, which
stores an `XADD *` twice and reports an explicit id that was stored as refused; only the port that wrote can know what a
lost reply means, so only ports repeat anything (broker/streams/retry.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import SSLConnection
from redis.connection import parse_url as read_url
from redis.exceptions import AuthenticationError, AuthorizationError, RedisError
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

SOCKET_TIMEOUT_S: Final = 3.0
CONNECT_TIMEOUT_S: Final = 2.0
LONGEST_BLOCK_MS: Final = 2000  # below the socket's timeout, or waiting would look like an outage
OLDEST_REDIS: Final = (7, 0)

SCHEMES: Final = ("redis", "rediss", "unix")
_IN_QUERY: Final = ("db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
_SHARED: Final = ("host", "port", "username", "password", "credential_provider", *_IN_QUERY)

Address = Mapping[str, Any]
"""Where a server is and how to log in: the keyword arguments that redis.Redis and redis.asyncio.Redis both take."""


class UnsupportedServer(Exception):
    """There is no server at the address, or not one that the lab can use; the text says it in one line."""


def parse_url(url: str) -> Address:
    """The address in `url`. Raises ValueError that says what is allowed, and never shows a password."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ValueError("a server's URL begins with redis://, rediss:// or unix://")
    if parts.scheme == "unix" and not parts.path:
        raise ValueError("a unix:// URL names a socket: unix:///run/redis.sock")
    for option in parse_qs(parts.query, keep_blank_values=True):
        if option not in _IN_QUERY:
            raise ValueError(f"{option!r} is no option of a server's URL; allowed are {', '.join(_IN_QUERY)}")
    try:
        return _address(read_url(url), tls=parts.scheme == "rediss")  # type: ignore[no-untyped-call]
    except ValueError:  # whose own text may show a password
        raise ValueError("a server's URL reads like redis://[user:password@]host[:port][/db]") from None


def connect(url: str) -> redis.Redis:
    """A client for processes without an event loop. It connects at its first command. Raises ValueError."""
    return redis.Redis(
        **parse_url(url),
        retry=Retry(NoBackoff(), 0),
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        driver_info=None,  # telling the server our library's version would cost every connection two commands
    )


def connect_async(url: str) -> redis.asyncio.Redis:
    """A client for an event loop. It connects at its first command. Raises ValueError."""
    return _async_client(parse_url(url))


def async_twin(client: redis.Redis | redis.asyncio.Redis, connections: int | None = None) -> redis.asyncio.Redis:
    """A client of the same server for an event loop, with our rules and not those of `client`: a robot inside a job
    only has its RQ worker's client. `connections` bounds how many it opens at most."""
    arguments = client.connection_pool.connection_kwargs
    tls = issubclass(client.connection_pool.connection_class, (SSLConnection, redis.asyncio.SSLConnection))
    return _async_client(_address(arguments, tls), connections)


def check_server(client: redis.Redis) -> None:
    """Raise UnsupportedServer unless a server answers that is Redis ≥ 7.0, or Valkey."""
    where = describe(client)
    try:
        answer: Mapping[str, Any] = client.info("server")
    except (AuthenticationError, AuthorizationError) as error:
        raise UnsupportedServer(f"the server at {where} does not let us in: {error}") from None
    except RedisError as error:
        raise UnsupportedServer(f"no usable server at {where}: {error}") from None
    version = str(answer.get("redis_version", ""))
    if _numbers(version) < OLDEST_REDIS:
        raise UnsupportedServer(
            f"the server at {where} is Redis {version or 'of no version'}; needed is Redis 7.0 or Valkey"
        )


def describe(client: redis.Redis | redis.asyncio.Redis) -> str:
    """The client's address for people: no user, no password."""
    arguments = client.connection_pool.connection_kwargs
    if "path" in arguments:
        return f"unix://{arguments['path']}"
    return f"{arguments.get('host', 'localhost')}:{arguments.get('port', 6379)}"


def block_ms(wait_us: int) -> int | None:
    """The BLOCK of a command that may wait `wait_us`: at most what the socket's timeout allows, and None (not to be
    given at all) below a millisecond, because 0 would mean for ever."""
    return min(wait_us // 1000, LONGEST_BLOCK_MS) or None


def _async_client(address: Address, connections: int | None = None) -> redis.asyncio.Redis:
    return redis.asyncio.Redis(
        **address,
        max_connections=connections,
        retry=AsyncRetry(NoBackoff(), 0),
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        driver_info=None,  # telling the server our library's version would cost every connection two commands
    )


def _address(arguments: Mapping[str, Any], tls: bool) -> Address:
    address = {name: arguments[name] for name in _SHARED if arguments.get(name) is not None}
    if "path" in arguments:
        address["unix_socket_path"] = arguments["path"]
    if tls:
        address["ssl"] = True
    return address


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split(".")[:2] if number.isdigit())
