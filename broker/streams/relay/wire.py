"""The relay's hot path to the server: one connection for many commands at once, and the relay's writes on it
(acknowledgements, fates, copies), from the decision until the server is known to have them.

redis-py makes the connection and logs in; from then on bytes go to and from the socket directly, packed and parsed by
hiredis, without redis-py's cost per command. Copies are packed by hand, because they are most of a relay's work. What
is decided, and under which lease, must never stand here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from types import TracebackType
from typing import Any, Final

import hiredis
import msgspec
import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from broker.relay.core import Copy, Fate
from broker.streams import keys
from broker.streams.keys import INBOX_LIMIT, Keys

Command = tuple[str | bytes | int, ...]
pack: Final[Callable[..., bytes]] = hiredis.pack_command  # its own types do not know a tuple of any length
_ROOM: Final = 1 << 17  # bytes taken from the socket at once
_NOTHING_YET: Final = object()


class BulkLine:
    """One connection of a client's pool, for as long as the line is open.

    After an outage, or when replies were left unread, a line is of no use any more; `close` it.
    """

    def __init__(self, client: redis.Redis) -> None:
        """Raises redis-py's ConnectionError or TimeoutError when there is no server that is ready."""
        self._pool = client.connection_pool
        self._connection: Any = self._pool.get_connection()
        self._socket: Any = self._connection._get_socket()
        self._reader: Any = hiredis.Reader(replyError=_refusal, notEnoughData=_NOTHING_YET)
        self._buffer = bytearray(_ROOM)
        try:
            [pong] = self.ask(("PING",))
            if isinstance(pong, ResponseError):
                raise RedisConnectionError(f"not ready: {pong}")  # it still loads what it had stored
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> BulkLine:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up: replies that are still to come are not read."""
        self._connection.disconnect()
        self._pool.release(self._connection)

    def send(self, packed: Iterable[bytes]) -> None:
        """Send packed commands, in one go. Their replies wait until they are received.

        Raises redis-py's ConnectionError or TimeoutError; any part may have taken effect then.
        """
        try:
            self._socket.sendall(b"".join(packed))
        except TimeoutError as error:
            raise RedisTimeoutError("the server takes nothing more") from error
        except OSError as error:
            raise RedisConnectionError(f"sending: {error}") from error

    def receive(self, count: int) -> list[Any]:
        """The next `count` replies, raw and in order; a command that the server refused has a ResponseError for its
        reply.

        Raises redis-py's ConnectionError or TimeoutError; the commands may have taken effect all the same.
        """
        next_reply, replies = self._reader.gets, []
        for _ in range(count):
            reply = next_reply()
            while reply is _NOTHING_YET:
                self._feed()
                reply = next_reply()
            replies.append(reply)
        return replies

    def ask(self, *commands: Command) -> list[Any]:
        """Send `commands`, and receive their replies."""
        self.send(map(pack, commands))
        return self.receive(len(commands))

    def _feed(self) -> None:
        try:
            size = self._socket.recv_into(self._buffer)
        except TimeoutError as error:
            raise RedisTimeoutError("no reply in time") from error
        except OSError as error:
            raise RedisConnectionError(f"receiving: {error}") from error
        if not size:
            raise RedisConnectionError("the server hung up")
        self._reader.feed(self._buffer, 0, size)


def _refusal(text: str) -> ResponseError:
    return OutOfMemoryError(text) if text.startswith("OOM ") else ResponseError(text)


GROUP: Final = "relay"
AT_ONCE: Final = 1024  # copies, and fates, in one flight: four batches of a relay
_encode = msgspec.msgpack.Encoder().encode


class WriteQueue:
    """A shard's writes, in flights: `load` one, send it, and `land` it with its replies before the next is loaded.

    `stored` is called with the entries of all writes that are stored, as often as each occurs. What the server refused
    goes with the next flight.
    """

    def __init__(self, names: Keys, shard: int, stored: Callable[..., None]) -> None:
        self.is_refused = False  # whether the server refused anything of the last flight
        self.stored_fates: str | None = None  # the newest entry of fates that the server has stored
        self._names = names
        self._outbox = names.outbox(shard)
        self._record = names.fates(shard)
        self._stored = stored
        self._acks: list[str] = []
        self._fates: list[Fate] = []
        self._copies: list[Copy] = []
        self._packed: list[bytes] = []  # the first of `_copies`, as commands
        self._flight: tuple[list[str], list[Fate], list[Copy]] = ([], [], [])
        self._prefix = lru_cache(maxsize=1 << 14)(self._pack_prefix)  # anybody may invent receivers

    @property
    def has_writes(self) -> bool:
        """Whether fates or copies wait for a flight."""
        return bool(self._fates or self._copies)

    @property
    def has_acks(self) -> bool:
        """Whether acknowledgements do."""
        return bool(self._acks)

    def acknowledge(self, entries: list[str]) -> None:
        """Have `entries` of the outbox acknowledged."""
        self._acks += entries

    def add_fates(self, fates: list[Fate]) -> None:
        """Have `fates` recorded."""
        self._fates += fates

    def add_copies(self, copies: list[Copy]) -> None:
        """Have `copies` put into their inboxes, in this order.

        What the next flight can take is packed at once: the best time for that is while the server is busy.
        """
        self._copies += copies
        self._pack_ahead()

    def load(self) -> list[bytes]:
        """The packed commands of the next flight."""
        self._pack_ahead()
        acks, self._acks = self._acks, []
        fates, self._fates = self._fates[:AT_ONCE], self._fates[AT_ONCE:]
        copies, self._copies = self._copies[:AT_ONCE], self._copies[AT_ONCE:]
        packed_copies, self._packed = self._packed, []
        self._flight = acks, fates, copies
        packed = []
        if acks:
            packed.append(pack(("XACK", self._outbox, GROUP, *acks)))
        if fates:
            packed.append(pack(("XADD", self._record, "*", keys.FATES, _encode(fates))))
        packed += packed_copies
        return packed

    def land(self, replies: list[Any]) -> tuple[bool, bool]:
        """Take in the replies to the flight, one for each command. Whether there were acknowledgements, and writes."""
        acks, fates, copies = self._flight
        if fates and isinstance(entry := replies[bool(acks)], bytes):
            self.stored_fates = entry.decode()
        self.is_refused = any(issubclass(kind, ResponseError) for kind in set(map(type, replies)))
        if self.is_refused:
            acks, fates, copies = self._sort_out(replies)
        self._stored(*[fate.entry for fate in fates], *[copy.entry for copy in copies])
        return bool(acks), bool(fates or copies)

    def _sort_out(self, replies: list[Any]) -> tuple[list[str], list[Fate], list[Copy]]:
        """What is stored of the flight; the rest waits for the next one, before all else."""
        acks, fates, copies = self._flight
        refused = [isinstance(reply, ResponseError) for reply in replies]
        if acks and refused.pop(0):
            self._acks, acks = acks + self._acks, []
        if fates and refused.pop(0):
            self._fates, fates = fates + self._fates, []
        again = [copy for copy, is_refused in zip(copies, refused, strict=True) if is_refused]
        self._copies = again + self._copies
        self._packed = []
        return acks, fates, [copy for copy, is_refused in zip(copies, refused, strict=True) if not is_refused]

    def _pack_ahead(self) -> None:
        self._packed += map(self._pack, self._copies[len(self._packed) : AT_ONCE])

    def _pack(self, copy: Copy) -> bytes:
        return b"%b%d\r\n%b\r\n" % (self._prefix(copy.receiver, copy.number), len(copy.frame), copy.frame)

    def _pack_prefix(self, receiver: str, number: int) -> bytes:
        """The command of a copy up to the length of its frame."""
        opening: Command = ("XADD", self._names.inbox(receiver), "MAXLEN", "~", INBOX_LIMIT, "*", keys.COPY, number)
        arguments = pack(opening).partition(b"\r\n")[2]
        return b"*%d\r\n%b$%d\r\n%b\r\n$" % (len(opening) + 2, arguments, len(keys.ENVELOPE), keys.ENVELOPE)
