"""What a server holds under the streams' names, whatever run it is of, and the removal of single keys: for what a run
has left behind. Which run is over is decided elsewhere.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Final

from redis.exceptions import ResponseError

from broker.envelope import is_run
from broker.relay.core import parse_id
from broker.streams import keys
from broker.streams.connection import DataClient, servers_of
from broker.streams.keys import Keys
from broker.streams.retry import retry_blocking

_KEY: Final = re.compile(rb"lab:\{([A-Za-z0-9_-]+)(?:\.[A-Za-z0-9_]+)?\}:.+", re.DOTALL)
_PAGE: Final = 1000  # keys that the server looks at in one step


def keys_by_run(client: DataClient) -> dict[str, list[bytes]]:
    """All keys of all runs. Walks through all that the server holds, without stopping it. Raises Unavailable."""
    found: defaultdict[str, list[bytes]] = defaultdict(list)
    for key in retry_blocking("keys", lambda: list(_keys(client))):
        named = _KEY.fullmatch(key)
        if named is not None and is_run(named[1].decode()):
            found[named[1].decode()].append(key)
    return dict(found)


def _keys(client: DataClient) -> Iterator[bytes]:
    for server in servers_of(client):
        yield from server.scan_iter("lab:{*", count=_PAGE)


def is_removal_begun(client: DataClient, run: str) -> bool:
    """Whether a removal of the run was begun and not finished. Raises Unavailable."""
    return bool(retry_blocking("removal", lambda: client.exists(Keys(run).removed)))


def last_change_us(client: DataClient, run: str) -> int:
    """When anything last happened in a run, by the server's clock, in microseconds since 1970; 0: not known. Raises
    Unavailable."""
    names = Keys(run)
    streams = (names.orders, names.events, names.fleet, names.requests)
    dealt_us: Any = retry_blocking("runs", lambda: client.zscore(keys.RUNS, run))
    return max(int(dealt_us or 0), *(_last_us(client, key) for key in streams))


def idle_s(client: DataClient, key: bytes) -> float | None:
    """For how long a key was neither read nor written; None: not known, or there is none. Raises Unavailable."""

    def ask() -> Any:
        try:
            return client.object("idletime", key)
        except ResponseError:  # a server that counts uses instead
            return None

    idle = retry_blocking("idle time", ask)
    return None if idle is None else float(idle)


def remove_keys(client: DataClient, left: Iterable[bytes]) -> None:
    """Remove these keys. Raises Unavailable."""
    for key in left:
        retry_blocking("removal", lambda key=key: client.unlink(key))  # type: ignore[misc]


def _last_us(client: DataClient, key: str) -> int:
    """Raises Unavailable."""

    def ask() -> int:
        with suppress(ResponseError):  # no such stream
            return parse_id(client.xinfo_stream(key)["last-generated-id"].decode())[0] * 1000
        return 0

    return retry_blocking("age", ask)
