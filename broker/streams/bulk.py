"""Many commands in one flight, without redis-py's price per command: the relay's hot path, and for nobody else.

redis-py makes the connection and logs in; from then on bytes go to and from the socket directly, packed and parsed by
hiredis. Nothing here knows what a command means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Final

import hiredis
import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

Command = tuple[str | bytes | int, ...]

pack: Final[Callable[..., bytes]] = hiredis.pack_command  # its own types do not know a tuple of any length

_ROOM: Final = 1 << 17  # bytes taken from the socket at once
_NOTHING_YET: Final = object()


class Line:
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

    def __enter__(self) -> Line:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up: what the server still has to say is heard by nobody."""
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
