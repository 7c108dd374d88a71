"""The lease of a shard, for which relays compete: one key with its holder's token, which expires when not renewed.

A relay that lost the lease can read no more: each read is a transaction that WATCHes the key, and taking the lease
touches the key. So reads of a shard form one order across all its relays, and no entry is passed over. Writes cannot be
fenced like that (they go to other nodes): the holder's own clock stops them. A late write of a paused process concerns
entries that the successor has recorded as redone.
"""

from __future__ import annotations

import time
from typing import Any, Final

from redis.exceptions import ResponseError

from broker.streams.relay.wire import Command, RelayLine, pack

LEASE_MS: Final = 800  # from the last renewal, with a server nearby; every transaction renews it
_LONGEST_MS: Final = 3000  # however far the server is
_ROUND_TRIPS: Final = 16  # that a lease lasts at least; between two renewals a relay makes three or four
POLL_S: Final = 0.1  # how often a standby relay tries, and how long a holder may be without a transaction
_BEGIN: Final = pack(("MULTI",))
_END: Final = pack(("EXEC",))


class Deposed(Exception):
    """The lease is over, or another's: nothing may be read or put out under it any more."""


def lease_ms(round_trip_s: float) -> int:
    """How long a lease lasts from its last renewal, with a server that answers in that time."""
    return max(LEASE_MS, min(round(1000 * _ROUND_TRIPS * round_trip_s), _LONGEST_MS))


class Lease:
    """The lease at `key`, over one connection. `holder` tells its holder from all others.

    A successor that is started only after its predecessor's death uses the same token, and need not wait for the end of
    the lease.
    """

    def __init__(self, line: RelayLine, key: str, holder: str) -> None:
        self._line = line
        self._key = key
        self._holder = holder.encode()
        self._lease_ms = LEASE_MS
        self._renewal = b""
        self._watch = pack(("WATCH", key)), pack(("GET", key))
        self._until = 0.0  # by our own monotonic clock, never later than by the server's
        self._sent = 0.0
        self._asked = 0

    def take(self) -> float | None:
        """Take the lease: None if it is ours now, else in how many seconds to ask again.

        Raises redis-py's ConnectionError, TimeoutError, or ResponseError when the server refuses writes.
        """
        key = self._key
        self._line.turn_to(key)
        self._lease_ms = lease_ms(self._line.round_trip_s)
        self._renewal = pack(("PEXPIRE", key, self._lease_ms))
        taking = ("SET", key, self._holder, "NX", "PX", self._lease_ms)
        taken, _, holder, left_ms = self._line.ask(taking, ("WATCH", key), ("GET", key), ("PTTL", key))
        if holder != self._holder:
            self._line.ask(("UNWATCH",))
            if isinstance(taken, ResponseError):
                raise taken
            left_s = int(left_ms) / 1000  # negative: it never expires, because it was set by hand
            return POLL_S if left_s < 0 else min(POLL_S, left_s + 0.001)
        self._until = time.monotonic() + self._lease_ms / 1000  # provisional: the transaction tells
        try:
            self.transact()  # touches the key: a transaction of the predecessor fails from here on
        except Deposed:
            return 0.0
        return None

    def transact(self, *commands: Command) -> list[Any]:
        """The replies to `commands`, done together and only if the lease is ours. Raises what `send` and `receive`
        raise."""
        self.send(commands)
        return self.receive()

    def send(self, commands: tuple[Command, ...], after: tuple[bytes, ...] | list[bytes] = ()) -> None:
        """Send a transaction of `commands`, then whatever is packed in `after`, whose replies come after `receive`.

        Raises Deposed, before anything is sent, when the lease is over; redis-py's ConnectionError, TimeoutError.
        """
        self._sent = time.monotonic()
        if self._sent >= self._until:
            raise Deposed
        self._asked = len(commands) + 1
        self._line.send([_BEGIN, self._renewal, *map(pack, commands), _END, *self._watch, *after])

    def receive(self) -> list[Any]:
        """The replies to the transaction that was sent.

        Raises Deposed when it was not done, the ResponseError of a command that was refused, and redis-py's
        ConnectionError and TimeoutError.
        """
        *queued, done, _, holder = self._line.receive(1 + self._asked + 3)
        results = done if isinstance(done, list) else [done]
        for reply in (*queued, *results):
            if isinstance(reply, ResponseError):
                raise reply
        if done is None or holder != self._holder:
            raise Deposed
        self._until = self._sent + self._lease_ms / 1000
        return results[1:]

    def keep(self) -> None:
        """Renew the lease if a quarter of its time has passed: for work between two transactions that may take long.
        Raises what `transact` raises."""
        if time.monotonic() - self._sent > self._lease_ms / 4000:
            self.transact()

    def release(self) -> None:
        """Give the lease back, if it is ours. Raises redis-py's ConnectionError, TimeoutError."""
        self._line.ask(("MULTI",), ("DEL", self._key), ("EXEC",))
