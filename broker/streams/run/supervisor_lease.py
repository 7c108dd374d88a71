"""The supervisors' lease of a run, for which supervisors on any host compete: one key, good for 3 s from each renewal.

It keeps two supervisors from doing the same work; no promise of the judge depends on it. It is no fence: a leader that
was paused under its lease may still finish its step. Orders, plan changes and jobs are refused then by the stream or
the job; but a kill, an order to crash, a contradictory update, or a death by a lost lease may be done or recorded once
too often.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import redis

from broker.errors import RunGone
from broker.streams.keys import Keys
from broker.streams.reading import number_in, watch_and_ask
from broker.streams.retry import retry_blocking

LEASE_US: Final = 3_000_000
RENEW_S: Final = 0.5  # how often a holder renews it, and a supervisor that stands by tries to take it
GAP_US: Final = 1_000_000
"""A lease that was not renewed for longer: a gap in the leadership. Twice the time between two renewals, and as long as
the leases of RQ jobs may go unwatched before their time begins anew."""
_HOLDER: Final = "holder"
_UNTIL: Final = "until_us"  # by the server's clock
_RENEWED: Final = "renewed_us"  # likewise
_DONE: Final = "done_us"  # since go


class Held(NamedTuple):
    """What a holder learns when it takes or renews the lease. `done_us` was stored last: all process faults that were
    due by then, since `go`, were handed out; -1: nothing was. `away_us`: for how long the lease had not been renewed,
    by the server's clock; 0: it was never held."""

    done_us: int
    away_us: int


class SupervisorLease:
    """The lease of one run. `holder` is this supervisor's own token. Every method tries once, and raises RunGone, or
    Unavailable when the result is unknown."""

    def __init__(self, client: redis.Redis, run: str, holder: str, lease_us: int = LEASE_US) -> None:
        """It is good for `lease_us` from each renewal."""
        self._client = client
        self._key = Keys(run).supervisor
        self._orders = Keys(run).orders
        self._holder = holder.encode()
        self._lease_us = lease_us

    def hold(self, done_us: int | None) -> Held | None:
        """Take the lease, or renew it (with `done_us`, which is stored for a successor): None when it is another's. A
        renewal fails also when it was another's in between, because that one knows more."""
        return retry_blocking("supervisor", lambda: self._hold(done_us), retry_s=0)

    def release(self) -> None:
        """Give the lease back, if it is ours; `done_us` stays stored."""
        retry_blocking("supervisor", self._release, retry_s=0)

    def _hold(self, done_us: int | None) -> Held | None:
        with self._client.pipeline() as pipe:
            holder, until_us, renewed_us, noted_us, now_us = self._read(pipe)
            if holder != self._holder and (until_us > now_us or done_us is not None):
                return None
            done_us = noted_us if done_us is None else done_us
            pipe.multi()
            until_us = now_us + self._lease_us
            fields: dict[Any, Any] = {_HOLDER: self._holder, _UNTIL: until_us, _RENEWED: now_us, _DONE: done_us}
            pipe.hset(self._key, mapping=fields)
            pipe.execute()
            return Held(done_us, max(0, now_us - renewed_us) if renewed_us else 0)

    def _release(self) -> None:
        with self._client.pipeline() as pipe:
            holder, *_ = self._read(pipe)
            if holder == self._holder:
                pipe.multi()
                pipe.hset(self._key, _UNTIL, "0")
                pipe.execute()

    def _read(self, pipe: redis.client.Pipeline) -> tuple[bytes | None, int, int, int, int]:
        """Holder, until when, renewed when, `done_us`, and the time. A change of the key meanwhile makes the rest
        fail."""
        wanted = (("EXISTS", self._orders), ("HMGET", self._key, _HOLDER, _UNTIL, _RENEWED, _DONE), ("TIME",))
        is_there, found, (seconds, microseconds) = watch_and_ask(pipe, (self._key, self._orders), *wanted)
        if not is_there:
            raise RunGone  # a key made now would stay for ever
        holder, until, renewed, done = found
        now_us = int(seconds) * 1_000_000 + int(microseconds)
        return holder, number_in(until, 0), number_in(renewed, 0), number_in(done, -1), now_us
