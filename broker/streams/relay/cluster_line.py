"""The relay's hot path to a Redis Cluster: a line to each server that gets something, and which commands go where.

A shard's lease, outbox, control stream and fates lie on one server, and all commands about them go there. Only copies
go to others: an XADD follows its key. What is decided is not known here.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any, Final

import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from broker.relay.core import parse_id
from broker.streams.address import Host
from broker.streams.cluster import ClusterClient
from broker.streams.relay.wire import BulkLine, Command, RelayLine, pack
from broker.streams.retry import OUTAGE

_XADD: Final = b"\r\n$4\r\nXADD\r\n$"
_INBOX: Final = b":inbox"
_LONGEST_OPENING: Final = 16  # bytes, up to the end of `_XADD`
_MOVED: Final = ("MOVED ", "CLUSTERDOWN ", "READONLY ")
_MOST_STREAMS: Final = 1 << 14  # whose last copies are remembered; anybody may invent receivers


class StoredCopies:
    """The last copy that a relay has stored in each inbox, and whether a server still has it.

    A replica that takes over may lack the last writes. No other process knows of the copies among them, so the relay
    looks for its last ones at each new connection and at its end, and calls `on_loss` when one is missing.
    """

    def __init__(self, on_loss: Callable[[], None]) -> None:
        self._on_loss = on_loss
        self._entries: dict[bytes, bytes] = {}

    def add(self, key: bytes, entry: bytes) -> None:
        """A copy was stored, by its server's word."""
        self._entries[key] = entry
        if len(self._entries) > _MOST_STREAMS:
            del self._entries[next(iter(self._entries))]

    def hosts(self, owner: Callable[[bytes], Host]) -> set[Host]:
        """The servers that should have these entries."""
        return set(map(owner, self._entries))

    def compare(self, line: RelayLine, is_there: Callable[[bytes], bool]) -> None:
        """Look for the last entries of the streams that are at the server of `line`."""
        entries = {key: entry for key, entry in self._entries.items() if is_there(key)}
        queries: list[Command] = []
        for key, entry in entries.items():
            queries += [("XRANGE", key, entry, entry), ("XINFO", "STREAM", key)]
        replies = iter(line.ask(*queries))
        lost = [
            key
            for (key, entry), found, stream in zip(entries.items(), replies, replies, strict=True)
            if found == [] and not _is_trimmed(entry, stream)
        ]
        for key in lost:
            del self._entries[key]  # told once
        if lost:
            self._on_loss()


def _is_trimmed(entry: bytes, stream: Any) -> bool:
    """Whether an entry that is gone was trimmed, by the reply to XINFO of its stream; an error: there is none."""
    if isinstance(stream, ResponseError) or stream[b"entries-added"] == stream[b"length"]:
        return False
    first = stream[b"first-entry"]
    return first is None or parse_id(first[0].decode()) > parse_id(entry.decode())


@contextmanager
def open_line(client: redis.Redis, stored_copies: StoredCopies) -> Iterator[RelayLine]:
    """A line to the client's server, or to those of its cluster. Raises redis-py's ConnectionError or TimeoutError when
    there is no server that is ready."""
    line = ClusterLine(client, stored_copies) if isinstance(client, ClusterClient) else BulkLine(client)
    with closing(line):
        yield line


class ClusterLine:
    """`wire.RelayLine` to a cluster; `turn_to` comes first.

    A copy for a server that cannot be reached was not sent: it counts as refused, so the relay keeps it, and goes on
    under its lease until another server holds the inbox. A reply that is lost ends the line like any other: the copy
    may be there, and is redone from the outbox.
    """

    def __init__(self, client: ClusterClient, stored_copies: StoredCopies) -> None:
        self._client = client
        self._stored_copies = stored_copies
        self._home: Host | None = None
        self._lines: dict[Host, BulkLine] = {}
        self._sent: deque[tuple[Host | None, bytes | None]] = deque()  # where to (None: not sent), and an XADD's key

    @property
    def round_trip_s(self) -> float:
        """How long the server that holds the lease took to answer."""
        assert self._home is not None, "`turn_to` comes first"
        return self._lines[self._home].round_trip_s

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
        sent = [(self._host_of(key), key, command) for key, command in ((key_of(each), each) for each in packed)]
        for host, _, command in sent:
            parts.setdefault(host, []).append(command)
        lines = {host: self._line_to(host) for host in parts}
        for host, line in lines.items():
            if line is not None:
                line.send(parts[host])
        self._sent.extend((None if lines[host] is None else host, key) for host, key, _ in sent)

    def receive(self, count: int) -> list[Any]:
        """The next `count` replies, raw and in order; a command that was refused, or could not be sent, has a
        ResponseError for its reply. Raises redis-py's ConnectionError or TimeoutError."""
        sent = [self._sent.popleft() for _ in range(count)]
        counts = Counter(host for host, _ in sent if host is not None)
        replies = {host: iter(self._lines[host].receive(number)) for host, number in counts.items()}
        found = [_NOT_SENT if host is None else next(replies[host]) for host, _ in sent]
        for (_, key), reply in zip(sent, found, strict=True):
            if key is not None and key.endswith(_INBOX) and isinstance(reply, bytes):
                self._stored_copies.add(key, reply)
        if any(issubclass(kind, ResponseError) for kind in set(map(type, found))):
            self._note(found)
        return found

    def ask(self, *commands: Command) -> list[Any]:
        """Send `commands`, and receive their replies."""
        self.send(map(pack, commands))
        return self.receive(len(commands))

    def verify_copies(self) -> None:
        """Look whether all servers still have what was stored last. Raises redis-py's ConnectionError or TimeoutError
        when one cannot be asked."""
        for host in self._stored_copies.hosts(self._client.owner):
            line = self._line_to(host)
            if line is None:
                raise RedisConnectionError("a server that had copies cannot be reached")
            with self._client.topology.noting(host):
                self._compare(line, host)

    def _host_of(self, key: bytes | None) -> Host:
        assert self._home is not None
        return self._home if key is None else self._client.owner(key)

    def _line_to(self, host: Host) -> BulkLine | None:
        """The line to a server; None when that cannot be reached, and is not where the lease is."""
        if host not in self._lines:
            try:
                with self._client.topology.noting(host):
                    self._lines[host] = self._open(host)
            except OUTAGE:
                if host == self._home:
                    raise
        return self._lines.get(host)

    def _open(self, host: Host) -> BulkLine:
        line = BulkLine(self._client.node(host))
        try:
            self._compare(line, host)
        except BaseException:
            line.close()
            raise
        return line

    def _compare(self, line: BulkLine, host: Host) -> None:
        self._stored_copies.compare(line, lambda key: self._client.owner(key) == host)

    def _note(self, replies: list[Any]) -> None:
        """Learn the masters anew before the next command, if one was asked that is none."""
        if any(isinstance(reply, ResponseError) and str(reply).startswith(_MOVED) for reply in replies):
            self._client.topology.forget()


def key_of(packed: bytes) -> bytes | None:
    """The key of a packed XADD; None of any other command."""
    at = packed.find(_XADD, 0, _LONGEST_OPENING)
    if at < 0:
        return None
    begin = packed.index(b"\r\n", at + len(_XADD))
    size = int(packed[at + len(_XADD) : begin])
    return packed[begin + 2 : begin + 2 + size]


_NOT_SENT: Final = ResponseError("CLUSTERDOWN the server of this key cannot be reached")
