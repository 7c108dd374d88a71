"""The relay as a process: which shard it serves, and when. What it does there: session.py.

It serves while it holds the shard's lease over one connection. A lost connection or a lost lease ends the session, and
the next session begins with the work that this one left.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import msgspec
import redis
from redis.exceptions import RedisError, ResponseError

from broker.errors import Unavailable
from broker.relay.core import Failpoint, NewCore, no_failpoint
from broker.streams.connection import connect
from broker.streams.keys import Keys
from broker.streams.relay.lease import POLL_S, Deposed, Lease
from broker.streams.relay.session import LAST_RETRY_S, PAUSE_S, Overtaken, RelaySession
from broker.streams.relay.wire import BulkLine
from broker.streams.retry import OUTAGE, is_transient
from broker.streams.run.remembered import is_forgotten
from telemetry.events import AnyEvent, RelayDeposed, ServerForgot


class Shutdown(msgspec.Struct, frozen=True):
    """What a relay does once it is to stop. With `drains` it empties the outbox; a standby relay leaves that to the
    process that closes the run. While another holds the lease, it waits for it as long as `may_wait()`."""

    drains: bool = True
    may_wait: Callable[[], bool] = lambda: True


DRAIN: Final = Shutdown()


class RelayDriver:
    """A relay for one of `shards`: the first whose lease is free. While others hold them all, it stands by.

    Every session gets a core from `new_core`. `holder` is its own among all relays that may be alive. Nothing is
    connected before `run`, so it may be made before a fork.
    """

    def __init__(
        self,
        url: str,
        run: str,
        shards: tuple[int, ...],
        new_core: NewCore,
        emit: Callable[[AnyEvent], None],
        *,
        holder: str,
        shutdown: Shutdown = DRAIN,
        failpoint: Failpoint = no_failpoint,
    ) -> None:
        self._url = url
        self._names = Keys(run)
        self._shards = shards
        self._new_core = new_core
        self._emit = emit
        self._holder = holder
        self._drains = shutdown.drains
        self._may_wait = shutdown.may_wait
        self._failpoint = failpoint
        self._served: int | None = None  # the shard whose lease is ours, as far as we know
        self._stored: tuple[int, str] | None = None  # a shard, and its newest entry of fates that was stored from here
        self._last_try: float | None = None  # when a relay that stops gives up on a server that does not answer

    def run(self, stopping: Callable[[], bool]) -> bool:
        """Relay until `stopping()`; one that drains, then until the outbox is empty and all held messages are
        delivered. False when it stopped without a lease, because others held them all to the end.

        Survives a server that is away or refuses, and the loss of its lease. Raises Unavailable when that lasts for
        longer than a few seconds at the end, and when the shard's streams are gone.
        """
        while True:
            try:
                with connect(self._url) as client, BulkLine(client) as line:
                    return self._serve(client, line, stopping)
            except Deposed:
                self._report_deposed()
            except Overtaken:
                time.sleep(PAUSE_S)
            except (*OUTAGE, ResponseError) as error:
                if not self._may_retry(error, stopping()):
                    return False
                time.sleep(PAUSE_S)

    def _may_retry(self, error: RedisError, is_stopping: bool) -> bool:
        """Whether to try again; if not, the process that closes the run does the rest. Raises Unavailable."""
        is_hopeless = not is_transient(error)
        if is_stopping and self._drains:
            self._last_try = self._last_try or time.monotonic() + LAST_RETRY_S
            is_hopeless |= time.monotonic() > self._last_try
        if is_hopeless:
            raise Unavailable(f"relay: {error}") from error
        return self._drains or not is_stopping

    def _serve(self, client: redis.Redis, line: BulkLine, stopping: Callable[[], bool]) -> bool:
        """One session, from its lease to its end in order. False: no lease was free."""
        lease = self._await_lease(line, stopping)
        if lease is None:
            return False
        assert self._served is not None
        session = RelaySession(
            client, line, lease, self._names, self._served, self._new_core(), self._emit, self._failpoint
        )
        self._compare(client)
        try:
            session.take_over()
            session.serve(stopping)
            if self._drains:
                session.drain()
            else:
                session.leave()
        finally:
            if session.stored_fates is not None:
                self._stored = self._served, session.stored_fates
        lease.release()
        return True

    def _compare(self, client: redis.Redis) -> None:
        """Report a server that came back without fates that an earlier session has stored. It decides them again, but
        what went with them may be missing for good."""
        if self._stored is not None and is_forgotten(client, self._names.fates(self._stored[0]), self._stored[1]):
            self._emit(ServerForgot("fates"))
        self._stored = None

    def _await_lease(self, line: BulkLine, stopping: Callable[[], bool]) -> Lease | None:
        """The first lease that is free; None when the relay is to stop before that, and may not wait."""
        while not stopping() or self._drains:
            pause_s = POLL_S
            for shard in self._shards:
                lease = Lease(line, self._names.lease(shard), self._holder)
                wait_s = lease.take()
                if wait_s is None:
                    self._served = shard
                    return lease
                if shard == self._served:
                    self._report_deposed()  # it was lost together with a connection
                pause_s = min(pause_s, wait_s)
            if not self._may_wait() and stopping():
                return None
            time.sleep(pause_s)
        return None

    def _report_deposed(self) -> None:
        assert self._served is not None
        self._emit(RelayDeposed(self._served))
        self._served = None
