"""The supervisors' lease of a run, for which supervisors on any host compete: one key, good for 3 s from each renewal.
The holder stores there what its run needs: leaders of other runs on the server read that, and people.

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
from broker.streams.run.probes import now_us

LEASE_US: Final = 3_000_000
RENEW_S: Final = 0.5  # how often a holder renews it, and a supervisor that stands by tries to take it
GAP_US: Final = 1_000_000
"""A lease that was not renewed for longer: a gap in the leadership. Twice the time between two renewals, and as long as
the leases of RQ jobs may go unwatched before their time begins anew."""
_HOLDER: Final = "holder"
_UNTIL: Final = "until_us"  # by the server's clock
_RENEWED: Final = "renewed_us"  # likewise
_DONE: Final = "done_us"  # since go
_LACKS: Final = "lacks"
_GROWS: Final = "grows"


class Needs(NamedTuple):
    """What a run needs of RQ workers that are idle. It `lacks` so many for robots that it has; with `grows`, robots
    that are new may join it."""

    lacks: int = 0
    grows: bool = False


NO_NEEDS: Final = Needs()


class Leader(NamedTuple):
    """The last holder of a run's lease: its token, how long ago it renewed the lease, and what the run needed then. It
    leads unless it `has_left`, or the lease ran out since (`is_stale`)."""

    holder: str
    age_us: int
    needs: Needs
    has_left: bool
    is_stale: bool

    @property
    def leads(self) -> bool:
        """Whether it holds the lease."""
        return not self.has_left and not self.is_stale


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

    def hold(self, done_us: int | None, needs: Needs = NO_NEEDS) -> Held | None:
        """Take the lease, or renew it (with `done_us`, which is stored for a successor): None when it is another's. A
        renewal fails also when it was another's in between, because that one knows more."""
        return retry_blocking("supervisor", lambda: self._hold(done_us, needs), retry_s=0)

    def release(self) -> None:
        """Give the lease back, if it is ours; `done_us` stays stored."""
        retry_blocking("supervisor", self._release, retry_s=0)

    def _hold(self, done_us: int | None, needs: Needs) -> Held | None:
        with self._client.pipeline() as pipe:
            holder, until_us, renewed_us, noted_us, now_us = self._read(pipe)
            if holder != self._holder and (until_us > now_us or done_us is not None):
                return None
            done_us = noted_us if done_us is None else done_us
            pipe.multi()
            until_us = now_us + self._lease_us
            fields: dict[Any, Any] = {_HOLDER: self._holder, _UNTIL: until_us, _RENEWED: now_us, _DONE: done_us}
            pipe.hset(self._key, mapping={**fields, _LACKS: needs.lacks, _GROWS: int(needs.grows)})
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


def read_leader(client: redis.Redis, run: str, retry_s: float = 0.0) -> Leader | None:
    """The last holder of a run's lease; None when it was never held. Raises Unavailable."""
    found = retry_blocking("supervisor", lambda: _fields(client, Keys(run).supervisor), retry_s)
    if found is None or found[0] is None:
        return None
    holder, until, renewed, lacks, grows = found
    now = now_us(client, run, retry_s)
    until_us, needs = number_in(until, 0), Needs(max(0, number_in(lacks, 0)), number_in(grows, 0) == 1)
    age_us = max(0, now - number_in(renewed, 0))
    return Leader(holder.decode(errors="replace"), age_us, needs, until_us == 0, until_us <= now)


def _fields(client: redis.Redis, key: str) -> Any:
    """None: anybody may have put something else there."""
    return client.hmget(key, _HOLDER, _UNTIL, _RENEWED, _LACKS, _GROWS) if client.type(key) == b"hash" else None
