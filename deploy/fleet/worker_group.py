"""The RQ workers of `robots worker`, on any host: forked from one preloaded process, watched, ended in order.

They run any robots that stand in the queue. One that ended because it was fenced is started again. Any other that dies
is not started again, so that a person can shrink a run by killing RQ workers.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from broker.streams.address import Address
from broker.streams.connection import Server
from deploy.processes.children import ChildDeath, Children
from deploy.processes.liveness import beat, forget_heartbeat, keep_heartbeat
from deploy.processes.signals import ShutdownSignals
from deploy.rq.worker import work
from robots.restart_budget import FENCED

END_S: Final = 3.0  # for RQ workers to hand their robots back, before they are killed
_POLL_S: Final = 0.5


class WorkerGroup:
    """`count` RQ workers on the server at `address`. `report` gets lines for a person. Each keeps a heartbeat in the
    folder `heartbeats`, if one is named."""

    def __init__(
        self, address: Address, count: int, report: Callable[[str], None], heartbeats: Path | None = None
    ) -> None:
        self._heartbeats = heartbeats
        self._address = address
        self._report = report
        self._fleet = Children()
        self._names = [f"rq:{number}" for number in range(count)]
        self._host = socket.gethostname()

    def run(self, shutdown: ShutdownSignals, is_over: Callable[[], bool]) -> int:
        """Until a signal, until `is_over()`, or until none is left. How many were alive then."""
        for name in self._names:
            self._start(name)
        try:
            while shutdown.reason is None and not is_over() and self._fleet.living:
                for death in self._fleet.poll(_POLL_S, shutdown.read_end):
                    self._handle(death)
                shutdown.drain()
                beat()
            return len(self._fleet.living)
        finally:
            self._fleet.end_all(END_S)

    def _handle(self, death: ChildDeath) -> None:
        if death.status == FENCED:
            self._report("an RQ worker was fenced: its robot lives elsewhere, or its run is gone; it is started again")
            self._start(death.name)
        else:
            forget_heartbeat(self._heartbeats, death.name)
            how = f"signal {-death.status}" if death.status < 0 else f"exit {death.status}"
            self._report(f"an RQ worker (pid {death.pid}) ended: {how}; {len(self._fleet.living)} left")

    def _start(self, name: str) -> None:
        """Under a new name: RQ refuses a name whose key has not run out yet."""
        rq_name = f"{self._host}.{secrets.token_hex(4)}"

        def work_on() -> int:
            keep_heartbeat(self._heartbeats, name)
            return _work(self._address, rq_name)

        self._fleet.start(name, work_on, None)


def _work(address: Address, name: str) -> int:
    with Server.at(address) as server:
        return work(server, name)
