"""Where a lab's servers are: what their URLs mean. Nothing is connected here, and no error shows a password.

redis://[user[:password]@]host[:port][/db]                   one server; rediss:// over TLS, unix:// by a socket
redis+sentinel://[user[:password]@]host[:port],…/master[/db]  the master that Sentinels name; rediss+sentinel://
redis-cluster://[user[:password]@]host[:port],…              a Redis Cluster, for streams alone; rediss-cluster://
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import SplitResult, parse_qs, quote, urlsplit

import msgspec
from redis.connection import parse_url as read_url

Kind = Literal["single", "sentinel", "cluster"]
_KINDS: Final[Mapping[str, tuple[str, Kind]]] = {
    "redis": ("redis", "single"),
    "rediss": ("rediss", "single"),
    "unix": ("unix", "single"),
    "redis+sentinel": ("redis", "sentinel"),
    "rediss+sentinel": ("rediss", "sentinel"),
    "redis-cluster": ("redis", "cluster"),
    "rediss-cluster": ("rediss", "cluster"),
}
_PORTS: Final[Mapping[Kind, int]] = {"single": 6379, "sentinel": 26379, "cluster": 6379}
_TLS: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
_IN_QUERY: Final = ("db", *_TLS)
_TO_SENTINELS: Final = ("sentinel_username", "sentinel_password")
_SHARED: Final = ("host", "port", "username", "password", "credential_provider", *_IN_QUERY)

_AUTHORITY: Final = re.compile("[^/?#]*")

Host = tuple[str, int]
"""A name or address, and a port."""


class Address(msgspec.Struct, frozen=True):
    """A lab's server, by the URLs of its two planes: RQ's queue is at `control`, the streams are at `data`. They are
    equal where one server has both. They may hold a password."""

    control: str
    data: str

    @classmethod
    def one(cls, url: str) -> Address:
        """One server has both."""
        return cls(url, url)

    def check(self) -> None:
        """Raise ValueError that says what is allowed, unless both can be used."""
        if parse_url(self.control).kind == "cluster":
            raise ValueError("a Redis Cluster can hold the streams alone: name RQ's server too (control and data)")
        parse_url(self.data)


class Location(msgspec.Struct, frozen=True):
    """What a URL means. `login`: keyword arguments that redis.Redis and redis.asyncio.Redis both take. `hosts`: the
    Sentinels, or the first nodes of a cluster to ask. `master`: the name by which Sentinels know it. `to_sentinels`:
    the login for Sentinels."""

    login: Mapping[str, Any]
    kind: Kind = "single"
    hosts: tuple[Host, ...] = ()
    master: str = ""
    to_sentinels: Mapping[str, Any] = {}


def parse_url(url: str) -> Location:
    """What `url` means. Raises ValueError that says what is allowed, and never shows a password."""
    parts = _split(url)
    if parts.scheme not in _KINDS:
        raise ValueError(
            "a server's URL begins with redis://, rediss://, unix://, redis+sentinel:// or redis-cluster://"
        )
    if parts.scheme == "unix" and not parts.path:
        raise ValueError("a unix:// URL names a socket: unix:///run/redis.sock")
    scheme, kind = _KINDS[parts.scheme]
    _check_options(parts, kind)
    if kind == "single":
        return Location(_login(url, scheme))
    hosts = _hosts(parts, kind)
    master, _, rest = parts.path.strip("/").partition("/")
    if kind == "sentinel" and not master:
        raise ValueError("a redis+sentinel:// URL ends with the master's name: redis+sentinel://host:26379/mymaster")
    if kind == "cluster" and master not in ("", "0"):
        raise ValueError("a Redis Cluster has one database only; allowed is redis-cluster://host:6379,host:6379")
    user, at, _ = parts.netloc.rpartition("@")
    path = rest if kind == "sentinel" else ""
    login = _login(parts._replace(scheme=scheme, netloc=f"{user}{at}localhost", path=f"/{path}").geturl(), scheme)
    login = {name: value for name, value in login.items() if name not in ("host", "port")}
    tls = {name: value for name, value in login.items() if name in ("ssl", *_TLS)}
    return Location(login, kind, hosts, master, tls | _sentinel_login(parts))


def with_password(url: str, password: str) -> str:
    """The URL, with the password in it. Raises ValueError when it holds one."""
    parts = _split(url)
    user, _, hosts = parts.netloc.rpartition("@")
    if ":" in user:
        raise ValueError("the server's URL holds a password already")
    # Not by geturl(), which loses the slashes of a URL without a host.
    rest = url.partition("://")[2].removeprefix(parts.netloc)
    return f"{parts.scheme}://{user}:{quote(password, safe='')}@{hosts}{rest}"


def without_password(url: str) -> str:
    """The URL, with no password in it: neither the server's nor the Sentinels'."""
    parts = _split(url)
    user, at, hosts = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    rest = url.partition("://")[2].removeprefix(parts.netloc)
    path, mark, query = rest.partition("?")
    options = [option for option in query.split("&") if "password" not in option.partition("=")[0].lower()]
    return f"{parts.scheme}://{name}{at * bool(name)}{hosts}{path}{mark * bool(options)}{'&'.join(options)}"


def without_login(location: Location) -> str:
    """Where it is, for people: no user, no password."""
    names = ",".join(f"{host}:{port}" for host, port in location.hosts)
    match location.kind:
        case "sentinel":
            return f"{location.master} of the Sentinels {names}"
        case "cluster":
            return f"the cluster {names}"
    if "unix_socket_path" in location.login:
        return f"unix://{location.login['unix_socket_path']}"
    return f"{location.login.get('host', 'localhost')}:{location.login.get('port', _PORTS['single'])}"


def login_in(arguments: Mapping[str, Any], tls: bool) -> Mapping[str, Any]:
    """The login in the keyword arguments of redis-py's connections."""
    login = {name: arguments[name] for name in _SHARED if arguments.get(name) is not None}
    if "path" in arguments:
        login["unix_socket_path"] = arguments["path"]
    if tls:
        login["ssl"] = True
    return login


def _split(url: str) -> SplitResult:
    """The parts of a URL. Python's own reading knows one host only, and refuses brackets behind a comma."""
    scheme, separator, rest = url.partition("://")
    authority = _AUTHORITY.match(rest)[0]  # type: ignore[index]  # it may be empty
    return urlsplit(f"{scheme}{separator}localhost{rest.removeprefix(authority)}")._replace(netloc=authority)


def _check_options(parts: SplitResult, kind: Kind) -> None:
    in_query = _TLS if kind == "cluster" else _IN_QUERY  # a cluster has one database
    allowed = (*in_query, *(_TO_SENTINELS if kind == "sentinel" else ()))
    for option in parse_qs(parts.query, keep_blank_values=True):
        if option not in allowed:
            raise ValueError(f"{option!r} is no option of a server's URL; allowed are {', '.join(allowed)}")


def _login(url: str, scheme: str) -> Mapping[str, Any]:
    try:
        return login_in(read_url(url), tls=scheme == "rediss")  # type: ignore[no-untyped-call]
    except ValueError:  # whose own text may show a password
        raise ValueError("a server's URL reads like redis://[user:password@]host[:port][/db]") from None


def _hosts(parts: SplitResult, kind: Kind) -> tuple[Host, ...]:
    found = []
    for text in parts.netloc.rpartition("@")[2].split(","):
        try:
            host = urlsplit(f"//{text}")
            name, port = host.hostname, host.port
        except ValueError:  # the port is none
            name, port = None, None
        if not name:
            raise ValueError(f"a {parts.scheme}:// URL names hosts with commas between them: host:port,host:port")
        found.append((name, port or _PORTS[kind]))
    return tuple(found)


def _sentinel_login(parts: SplitResult) -> dict[str, Any]:
    options = parse_qs(parts.query)
    return {name.removeprefix("sentinel_"): options[name][0] for name in _TO_SENTINELS if name in options}
