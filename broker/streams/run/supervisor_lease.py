"""The right to supervise a run, for which supervisors on any host compete: one key, good for 3 s from each renewal.

It keeps two supervisors from doing the same work; no promise rests on it. It is no fence: one that was paused under its
lease, and goes on, may still finish the turn that it was in. An order that was given, a plan that was superseded and a
job that has moved on are refused by the stream or the job; but a kill, an order to crash, a contradiction, or a lost
lease that is told as a death is then done or told once more than it should be.
"""

from __future__ import annotations

from typing import Any, Final

import redis

from broker.errors import RunGone
from broker.streams.keys import Keys
from broker.streams.reading import number_in
from broker.streams.retry import retry_blocking

LEASE_US: Final = 3_000_000
RENEW_S: Final = 0.5  # how often a holder renews it, and how often one that stands by asks
_HOLDER: Final = "holder"
_UNTIL: Final = "until_us"  # by the server's clock
_DONE: Final = "done_us"  # since go


class SupervisorLease:
    """The lease of one run. `holder` tells this supervisor from all others. Every method tries once, and raises
    RunGone, or Unavailable when nobody knows what came of it."""

    def __init__(self, client: redis.Redis, run: str, holder: str, lease_us: int = LEASE_US) -> None:
        """It is good for `lease_us` from each renewal."""
        self._client = client
        self._key = Keys(run).supervisor
        self._orders = Keys(run).orders
        self._holder = holder.encode()
        self._lease_us = lease_us

    def hold(self, done_us: int | None) -> int | None:
        """Take or renew the lease: None when it is another's; to renew it (with `done_us`), also when it was another's
        in between, who knows more.

        `done_us` is noted for a successor: all deeds that were due by then, in microseconds since `go`, have been
        handed out. What was noted last comes back, -1 when nothing was.
        """
        return retry_blocking("supervisor", lambda: self._hold(done_us), retry_s=0)

    def release(self) -> None:
        """Give the lease back, if it is ours; what was noted stays."""
        retry_blocking("supervisor", self._release, retry_s=0)

    def _hold(self, done_us: int | None) -> int | None:
        with self._client.pipeline() as pipe:
            holder, until_us, noted_us, now_us = self._look(pipe)
            if holder != self._holder and (until_us > now_us or done_us is not None):
                return None
            done_us = noted_us if done_us is None else done_us
            pipe.multi()
            mapping: dict[Any, Any] = {_HOLDER: self._holder, _UNTIL: now_us + self._lease_us, _DONE: done_us}
            pipe.hset(self._key, mapping=mapping)
            pipe.execute()
            return done_us

    def _release(self) -> None:
        with self._client.pipeline() as pipe:
            holder, *_ = self._look(pipe)
            if holder == self._holder:
                pipe.multi()
                pipe.hset(self._key, _UNTIL, "0")
                pipe.execute()

    def _look(self, pipe: redis.client.Pipeline) -> tuple[bytes | None, int, int, int]:
        """Holder, until when, what was noted, and the time. Whoever changes the key meanwhile makes the rest fail."""
        pipe.watch(self._key, self._orders)  # type: ignore[no-untyped-call]
        if not pipe.exists(self._orders):
            raise RunGone  # a key made now would stay for ever
        found: Any = pipe.hmget(self._key, _HOLDER, _UNTIL, _DONE)
        seconds, microseconds = pipe.time()
        holder, until, done = found
        return holder, number_in(until, 0), number_in(done, -1), int(seconds) * 1_000_000 + int(microseconds)
