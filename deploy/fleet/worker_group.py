"""The RQ workers of `robots worker`, on any host: forked from one preloaded process, watched, ended in order.

They run any robots that stand in the queue, and hand them back when they are ended in order. One that ended because it
was fenced is started again. Any other that dies is not started again, so that a person can shrink a run by killing RQ
workers. All end when their server is gone.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Sequence
from itertools import starmap
from pathlib import Path
from typing import Final

from broker.errors import Unavailable
from broker.streams.address import Address
from broker.streams.connection import Server
from broker.streams.outage import ServerWatch
from broker.streams.run.probes import ping_all
from deploy.processes.children import ChildDeath, Children
from deploy.processes.liveness import beat, forget_heartbeat, keep_heartbeat
from deploy.processes.signals import ShutdownSignals
from deploy.rq.observed import JobSeen
from deploy.rq.queue import poll_jobs, robots_under
from deploy.rq.worker import work
from robots.restart_budget import FENCED
from telemetry.phrases import named_robots

END_S: Final = 3.0  # for RQ workers to hand their robots back, before they are killed
_POLL_S: Final = 0.5


class WorkerGroup:
    """`count` RQ workers on the server at `address`. `report` gets lines for a person; `watch` decides when the server
    is gone. Each keeps a heartbeat in the folder `heartbeats`, if one is named."""

    def __init__(
        self,
        address: Address,
        count: int,
        report: Callable[[str], None],
        watch: ServerWatch,
        heartbeats: Path | None = None,
    ) -> None:
        self._heartbeats = heartbeats
        self._address = address
        self._report = report
        self._watch = watch
        self._server = Server.at(address)
        self._fleet = Children()
        self._names = [f"rq:{number}" for number in range(count)]
        self._host = socket.gethostname()
        self._rq_names: dict[str, str] = {}  # by their names among the children

    def run(self, shutdown: ShutdownSignals, is_over: Callable[[], bool]) -> int:
        """Until a signal, until `is_over()`, or until none is left. How many were alive then. Raises ServerGone."""
        for name in self._names:
            self._start(name)
        try:
            while shutdown.reason is None and not is_over() and self._fleet.living:
                for death in self._fleet.poll(_POLL_S, shutdown.read_end):
                    self._handle(death)
                shutdown.drain()
                self._ask_server()
                beat()
            count = len(self._fleet.living)
            if shutdown.reason is not None:
                self._hand_back()
            return count
        finally:
            self._fleet.end_all(END_S)
            self._server.close()

    def _ask_server(self) -> None:
        try:
            ping_all(self._server.control)
            ping_all(self._server.data)
        except Unavailable:
            self._watch.silent()
        else:
            self._watch.answered()

    def _hand_back(self) -> None:
        """End all, and report where their robots are then."""
        with Server.at(self._address) as server:
            try:
                held = robots_under(server.control, [self._rq_names[name] for name in self._fleet.living])
                self._fleet.end_all(END_S)
                jobs = {run: poll_jobs(server.control, run, robots) for run, robots in held.items()}
            except Unavailable:
                self._report("the server does not answer: a robot that was run here is found lost when it is back")
            else:
                self._report(" · ".join(starmap(handed_back, jobs.items())) or "no robot was run here")

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
        rq_name = self._rq_names[name] = f"{self._host}.{secrets.token_hex(4)}"
        self._server.close()  # a child must not share its connections

        def work_on() -> int:
            keep_heartbeat(self._heartbeats, name)
            return _work(self._address, rq_name)

        self._fleet.start(name, work_on, None)


def handed_back(run: str, jobs: Sequence[JobSeen]) -> str:
    """What became of the robots of a run whose RQ workers have ended."""
    texts = {
        "handed back, waiting for another RQ worker": ("queued", "waiting"),
        "handed back, run by another RQ worker": ("taken", "running"),
        "not handed back: lost until the lease is over": ("lost",),
        "not handed back: over": ("done",),
    }
    found = {text: [job.robot for job in jobs if job.state in states] for text, states in texts.items()}
    return f"run {run}: " + "; ".join(f"{named_robots(robots)} {text}" for text, robots in found.items() if robots)


def _work(address: Address, name: str) -> int:
    with Server.at(address) as server:
        return work(server, name)
