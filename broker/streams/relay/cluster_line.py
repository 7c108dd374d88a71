"""The relay's hot path to a Redis Cluster: a line to each server that gets something, and which commands go where.

A shard's lease, outbox, control stream and fates lie on one server, and all commands about them go there. Only copies
go to others: an XADD follows its key. What is decided is not known here.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any, Final

import redis
from redis.exceptions import ResponseError

from broker.streams.address import Host
from broker.streams.cluster import ClusterClient
from broker.streams.relay.wire import BulkLine, Command, Line, pack
from broker.streams.retry import OUTAGE

_XADD: Final = b"\r\n$4\r\nXADD\r\n$"
_LONGEST_OPENING: Final = 16  # bytes, up to the end of `_XADD`
_MOVED: Final = ("MOVED ", "CLUSTERDOWN ", "READONLY ")


@contextmanager
def open_line(client: redis.Redis) -> Iterator[Line]:
    """A line to the client's server, or to those of its cluster. Raises redis-py's ConnectionError or TimeoutError when
    there is no server that is ready."""
    line = ClusterLine(client) if isinstance(client, ClusterClient) else BulkLine(client)
    with closing(line):
        yield line


class ClusterLine:
    """`wire.Line` to a cluster; `turn_to` comes first.

    A copy for a server that cannot be reached was not sent: it counts as refused, so the relay keeps it, and goes on
    under its lease until another server holds the inbox. A reply that is lost ends the line like any other: the copy
    may be there, and is redone from the outbox.
    """

    def __init__(self, client: ClusterClient) -> None:
        self._client = client
        self._home: Host | None = None
        self._lines: dict[Host, BulkLine] = {}
        self._sent: deque[Host | None] = deque()  # whose replies are to come; None: not sent

    def turn_to(self, key: str) -> None:
        """Have all commands but XADD go to the server that holds `key`. Raises what `send` raises."""
        self._home = self._client.owner(key)
        self._line_to(self._home)

    def close(self) -> None:
        """Hang up: replies that are still to come are not read."""
        for line in self._lines.values():
            line.close()
        self._lines.clear()

    def send(self, packed: Iterable[bytes]) -> None:
        """Send packed commands, to each server in one go. Raises redis-py's ConnectionError or TimeoutError; any part
        may have taken effect then."""
        parts: dict[Host, list[bytes]] = {}
        for command in packed:
            host = self._host_of(command)
            parts.setdefault(host, []).append(command)
            self._sent.append(host)
        lines = {host: self._line_to(host) for host in parts}
        for host, line in lines.items():
            if line is not None:
                line.send(parts[host])
        if None in lines.values():
            self._sent = deque(host if host is not None and lines.get(host) else None for host in self._sent)

    def receive(self, count: int) -> list[Any]:
        """The next `count` replies, raw and in order; a command that was refused, or could not be sent, has a
        ResponseError for its reply. Raises redis-py's ConnectionError or TimeoutError."""
        hosts = [self._sent.popleft() for _ in range(count)]
        counts = Counter(host for host in hosts if host is not None)
        replies = {host: iter(self._lines[host].receive(number)) for host, number in counts.items()}
        found = [_NOT_SENT if host is None else next(replies[host]) for host in hosts]
        if any(issubclass(kind, ResponseError) for kind in set(map(type, found))):
            self._note(found)
        return found

    def ask(self, *commands: Command) -> list[Any]:
        """Send `commands`, and receive their replies."""
        self.send(map(pack, commands))
        return self.receive(len(commands))

    def _host_of(self, command: bytes) -> Host:
        assert self._home is not None
        at = command.find(_XADD, 0, _LONGEST_OPENING)
        if at < 0:
            return self._home
        begin = command.index(b"\r\n", at + len(_XADD))
        size = int(command[at + len(_XADD) : begin])
        return self._client.owner(command[begin + 2 : begin + 2 + size])

    def _line_to(self, host: Host) -> BulkLine | None:
        """The line to a server; None when that cannot be reached, and is not where the lease is."""
        if host not in self._lines:
            try:
                with self._client.noting(host):
                    self._lines[host] = BulkLine(self._client.node(host))
            except OUTAGE:
                if host == self._home:
                    raise
        return self._lines.get(host)

    def _note(self, replies: list[Any]) -> None:
        """Learn the masters anew before the next command, if one was asked that is none."""
        if any(isinstance(reply, ResponseError) and str(reply).startswith(_MOVED) for reply in replies):
            self._client.topology.forget()


_NOT_SENT: Final = ResponseError("CLUSTERDOWN the server of this key cannot be reached")
