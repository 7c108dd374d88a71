"""An RQ worker that waits for its server, and ends when that is gone. What it runs is not known here.

RQ's own waits for ever, with a line each time that it tries, and ends with a traceback at other errors.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any, Final

import redis
import rq
from rq.exceptions import StopRequested
from rq.job import Job

from broker.streams.outage import ServerGone, ServerWatch
from broker.streams.retry import TROUBLE, suppress_transient
from deploy.processes.liveness import beat
from deploy.rq.dequeue import NoAnswer

RETRY_S: Final = 0.1
"""Between two tries with a server that is away."""

_WAIT_S: Final = 0.5  # for a job, before it is checked whether to end


class PatientWorker(rq.Worker):
    """See above. Its queues are of a class that raises NoAnswer (deploy/rq/dequeue.py)."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.watch = ServerWatch(lambda line: self.log.warning("Worker %s: %s", self.name, line))
        """When to end because the server is gone. An RQ worker of ours has a parent that decides it."""

    def _set_ip_address(self, connection: redis.Redis) -> None:
        """RQ asks the server at once by which address that sees this RQ worker; an outage leaves it unknown."""
        self.ip_address = "unknown"
        with contextlib.suppress(*TROUBLE):
            super()._set_ip_address(connection)

    def register_birth(self) -> None:
        """Once the server answers. Raises SystemExit when it is gone, and ValueError when a living RQ worker has the
        name."""
        while True:
            with suppress_transient():
                super().register_birth()  # type: ignore[no-untyped-call]
                return
            try:
                self.end_when_gone()
            except StopRequested:
                raise SystemExit(1) from None
            time.sleep(RETRY_S)

    def register_death(self) -> None:
        """RQ forgets an entry that could not be removed after a while."""
        with contextlib.suppress(*TROUBLE):
            super().register_death()  # type: ignore[no-untyped-call]

    def check_for_suspension(self, burst: bool) -> None:
        """Wait while a person has suspended RQ; a server that is away suspends nothing."""
        with contextlib.suppress(*TROUBLE):
            super().check_for_suspension(burst)

    def set_state(self, state: str, pipeline: redis.client.Pipeline | None = None) -> None:
        """The state is for people alone: an outage may lose it."""
        with contextlib.suppress(*TROUBLE):
            super().set_state(state, pipeline)

    def heartbeat(self, timeout: int | None = None, pipeline: redis.client.Pipeline | None = None) -> None:
        """For people alone, too (the robot's lease is another thing). Raises StopRequested when asked to end while the
        server is away."""
        try:
            super().heartbeat(timeout, pipeline)
        except TROUBLE:
            if self._stop_requested and not self.horse_pid:
                raise StopRequested from None

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, rq.Queue] | None:
        """Wait for a job, at most `max_idle_time` seconds. Raises StopRequested when asked to end, or when the server
        is gone."""
        if timeout is None:
            try:
                return super().dequeue_job_and_maintain_ttl(None)
            except NoAnswer as away:
                self.log.error("Worker %s: the server does not answer: %s", self.name, away)
                raise StopRequested from None
        since = time.monotonic()
        while not self._stop_requested:
            beat()
            with suppress_transient(), contextlib.suppress(NoAnswer):
                found = super().dequeue_job_and_maintain_ttl(timeout, _WAIT_S)  # type: ignore[arg-type]  # any number
                self.watch.answered()
                if found is not None or (max_idle_time is not None and time.monotonic() - since >= max_idle_time):
                    return found
                continue
            self.end_when_gone()
            time.sleep(RETRY_S)
        raise StopRequested

    def end_when_gone(self) -> None:
        """To be called when the server did not answer. Raises StopRequested."""
        try:
            self.watch.silent()
        except ServerGone as gone:
            self.log.error("Worker %s: %s", self.name, gone)
            raise StopRequested from None
