"""Many commands in one flight, without redis-py's price per command: the relay's hot path, and for nobody else.

It packs with hiredis and reads the replies off a connection of the client's own pool. It knows no command.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import hiredis
import redis
from redis.exceptions import ResponseError

Command = tuple[str | bytes | int, ...]

_pack: Callable[..., bytes] = hiredis.pack_command  # its own types do not know a tuple of any length


def send_in_bulk(client: redis.Redis, commands: Sequence[Command]) -> list[Any]:
    """The replies to `commands`, raw and in order; a command that the server refused has a ResponseError for its reply.

    Raises redis-py's ConnectionError or TimeoutError when replies are lost; any part may have taken effect then.
    """
    pool = client.connection_pool
    connection: Any = pool.get_connection()
    try:
        connection.send_packed_command([b"".join([_pack(command) for command in commands])])
        return [_reply(connection) for _ in commands]
    except BaseException:
        connection.disconnect()  # replies that nobody reads must not meet the next one
        raise
    finally:
        pool.release(connection)


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as refusal:
        return refusal
