"""Which server of a Redis Cluster a command belongs to. Nothing is connected or sent here.

A cluster has 16384 slots, and each slot has one master. A command goes to the master of its first key's slot; that all
keys of a command lie in one slot is the care of keys.py, and the server refuses what does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import ClusterDownError, MovedError, ReadOnlyError, RedisError, WatchError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from broker.streams.address import Host

Command = Sequence[Any]
"""A command as redis-py is about to pack it: its name, which may be of two words, and its arguments."""

_NO_ANSWER: Final = (RedisConnectionError, RedisTimeoutError, WatchError)  # under WATCH, redis-py makes one the other
MAY_HAVE_MOVED: Final = (*_NO_ANSWER, MovedError, ClusterDownError, ReadOnlyError)
"""Errors after which another server may be the master of a slot."""

_KEYLESS: Final = {"CLIENT ID", "CLUSTER", "INFO", "PING", "TIME", "WAIT", "WAITAOF"}
_READS: Final = {"XREAD", "XREADGROUP"}
_OF_A_KEY: Final = {"OBJECT"}  # whose own subcommand comes first


def slot_of(key: str | bytes) -> int:
    """The slot of a key."""
    return int(key_slot(key if isinstance(key, bytes) else key.encode()))


def key_in(command: Command) -> str | bytes | None:
    """The first key of a command that the broker sends; None when it has none, and any server may answer."""
    name = command[0]
    if name in _KEYLESS:
        return None
    if name in _READS:
        place = next(number for number, word in enumerate(command) if word in (b"STREAMS", "STREAMS"))
        return _text(command[place + 1])
    return _text(command[2] if name in _OF_A_KEY else command[1])


def by_server(commands: Iterable[Command], owner: Callable[[str | bytes | None], Host]) -> dict[Host, list[int]]:
    """The places of the commands that go to each server, which are in the order of their first commands. A command
    without a key goes where the one before it goes."""
    places: dict[Host, list[int]] = {}
    host = None
    for place, command in enumerate(commands):
        key = key_in(command)
        if key is not None or host is None:
            host = owner(key)
        places.setdefault(host, []).append(place)
    return places


def _text(key: Any) -> str | bytes:
    return key if isinstance(key, bytes) else str(key)


class Topology:
    """The masters of a cluster as far as they are known, and whom to ask for them."""

    def __init__(self, startup: Sequence[Host]) -> None:
        self._startup = tuple(startup)
        self._to_ask = list(startup)
        self._owners: list[Host | None] | None = None

    @property
    def is_known(self) -> bool:
        """Whether it was learnt, and nothing has shown since that it may have changed."""
        return self._owners is not None

    @property
    def masters(self) -> tuple[Host, ...]:
        """All that are known, each once."""
        return tuple(dict.fromkeys(owner for owner in self._owners or () if owner is not None))

    def to_ask(self) -> tuple[Host, ...]:
        """Whom to ask, in this order: the servers that were seen last, then those that were named at first."""
        return tuple(dict.fromkeys((*self._to_ask, *self._startup)))

    def forget(self) -> None:
        """It may have changed, and is to be learnt anew."""
        self._owners = None

    def note(self, error: RedisError, host: Host) -> None:
        """A server's error. What may have changed is to be learnt anew, from others first if that one is silent."""
        if not isinstance(error, MAY_HAVE_MOVED):
            return
        self.forget()
        if isinstance(error, _NO_ANSWER) and host in self._to_ask:
            self._to_ask.remove(host)
            self._to_ask.append(host)

    @contextmanager
    def noting(self, host: Host) -> Iterator[None]:
        """A block that talks with a server, and has its errors noted."""
        try:
            yield
        except RedisError as error:
            self.note(error, host)
            raise

    def learn(self, reply: Any, asked: Host) -> None:
        """Take over the reply of the server `asked` to CLUSTER SLOTS."""
        owners: list[Host | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        seen: list[Host] = []
        for first, last, *servers in reply:
            hosts = [_host(server, asked) for server in servers]
            owners[first : last + 1] = [hosts[0]] * (last + 1 - first)
            seen += hosts
        # The next one asks another server: one that was cut off does not know that.
        self._to_ask = [*(host for host in dict.fromkeys(seen) if host != asked), asked]
        self._owners = owners

    def owner(self, key: str | bytes | None) -> Host:
        """The master of the key's slot; of no key, any one. Raises redis-py's ClusterDownError when there is none."""
        owners = self._owners or ()
        found = next(filter(None, owners), None) if key is None else owners[slot_of(key)] if owners else None
        if found is None:
            raise ClusterDownError("CLUSTERDOWN no server is known to hold the key's slot")
        return found


def _host(server: Sequence[Any], asked: Host) -> Host:
    """A server's address, as another names it: by no host when it is the one that was asked, or is not known."""
    name, port = server[0], int(server[1])
    name = name.decode() if isinstance(name, bytes) else name
    return (name if name and name != "?" else asked[0]), port
