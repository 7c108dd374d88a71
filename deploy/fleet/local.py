"""The processes of a live run on its parent's host: RQ workers, relays, and the run's own server.

A death is reported, recorded, and the process replaced, for as long as the run goes on. When the run ends is decided
elsewhere.
"""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from broker.errors import Unavailable
from broker.streams.address import Address
from broker.streams.connection import Server
from broker.streams.run.fleet_log import StreamFleetLog
from broker.streams.run.lives import last_incarnation
from deploy.attach.context import RunContext
from deploy.errors import EnvironmentFailure
from deploy.fleet.relay_main import relay
from deploy.fleet.relays import RelayGroup
from deploy.fleet.rq_workers import KIND, RqWorkerGroup
from deploy.processes.children import ChildDeath, Children
from deploy.processes.janitor import Janitor
from deploy.processes.server import RunServer
from deploy.rq.queue import revoke
from deploy.rq.worker import work
from robots.restart_budget import FENCED, SERVER
from telemetry.events import ProcessDied, ProcessStarted

MOST_SERVER_DEATHS: Final = 20  # of a server that lives again each time
END_S: Final = 5.0  # for processes to end, before they are killed
_INJECTED: Final = (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP)


class LocalFleet:
    """All children of the parent. To be made when all that they need is imported (deploy/processes/children.py)."""

    def __init__(
        self,
        context: RunContext,
        run_server: RunServer,
        janitor: Janitor,
        logs: Path,
    ) -> None:
        run, terms = context.run, context.info.terms
        self.children = Children(janitor)
        self._run = run
        self._job_table = context.job_table
        self._new_core = context.info.new_core
        self._seed = terms.seed
        self._run_server = run_server
        self._server = context.server
        self._logs = logs
        self._emit = context.events.emit
        self.log = StreamFleetLog(self._server.data, run, retry_s=0)
        self._relays = RelayGroup(terms.shards, self.children, self._spawn_relay, self._emit)
        self._workers = RqWorkerGroup(run, terms.robots, self.children, self._spawn_worker, self._revoke)
        self._unrecorded: deque[tuple[str, str, int]] = deque()  # deaths: victim, robot, status
        self._signalled: set[tuple[str, int]] = set()  # by the lab, with that signal; alive as far as is known
        self._server_deaths = 0
        self._is_ceasing = False

    def start(self, is_wanted: Callable[[], bool]) -> None:
        """Start relays, then RQ workers, as long as they are wanted. The server runs already."""
        if self._run_server.pid is not None:
            self.children.adopt(SERVER, self._run_server.pid)
            self._emit(ProcessStarted(SERVER, self._run_server.pid))
        self._server.close()  # children must not share its connections
        self._relays.start()
        self._workers.start(is_wanted)

    @property
    def rq_names(self) -> list[str]:
        """The names by which RQ has known any RQ worker of the run."""
        return self._workers.rq_names

    @property
    def is_whole(self) -> bool:
        """Whether no dead process is still to be replaced, and all deaths are recorded."""
        return not self._unrecorded and self._workers.is_whole and self._relays.due_s is None

    @property
    def living(self) -> Mapping[str, int]:
        """The pid of each child that is not known to have ended."""
        return self.children.living

    def signal(self, name: str, number: int) -> None:
        """Send a signal to one child. Its next death is not charged, if the signal ends it, or stops it and it was not
        resumed before. Raises KeyError when no living child has the name."""
        if number in _INJECTED:
            self._signalled.add((name, number))
        elif number == signal.SIGCONT:
            self._signalled.discard((name, signal.SIGSTOP))
        self.children.signal(name, number)

    def worker_of(self, robot: str) -> str | None:
        """The RQ worker, by its name among the children, that runs a robot now, as far as is known."""
        return self._workers.name_of(self._job_table.worker_of(robot))

    def poll(self, timeout_s: float, read_end: int) -> None:
        """Wait at most so long for deaths (or until `read_end` can be read); record them, and start successors that are
        due. Raises EnvironmentFailure when the server cannot be kept alive."""
        due = [due_s for due_s in (self._relays.due_s, self._workers.due_s) if due_s is not None]
        if due:
            timeout_s = min(timeout_s, max(0.0, min(due) - time.monotonic()))
        deaths = self.children.poll(timeout_s, read_end)
        self._report(deaths)
        for death in deaths:
            self._replace(death)
        self._record()
        if not self._is_ceasing:
            self._relays.start_due(time.monotonic())
            self._workers.start_due(time.monotonic())

    def cease(self) -> None:
        """From here on no process is replaced: the run is over."""
        self._is_ceasing = True

    def end_workers(self) -> None:
        """End all RQ workers, in order if they can."""
        self._is_ceasing = True
        self._report_disorderly(self._workers.end(END_S))

    def drain(self) -> None:
        """End all relays, every outbox being emptied if that is possible at all."""
        self._report_disorderly(self._relays.drain())
        self._record()

    def end_all_but_server(self) -> None:
        """End all that still live, but not the server, which the others need."""
        self.end_workers()
        self._report_disorderly(self.children.end(self.children.living.keys() - {SERVER}, END_S))

    def end_server(self) -> None:
        """End our own server, if there is one."""
        self.children.end_all(END_S)

    def _replace(self, death: ChildDeath) -> None:
        signals_sent = {(name, number) for name, number in self._signalled if name == death.name}
        self._signalled -= signals_sent
        if death.name == SERVER:
            self._revive_server(death)
        elif not self._is_ceasing:
            self._relays.replace(death, is_charged=not signals_sent)
            self._workers.replace(death, is_charged=not signals_sent)

    def _revive_server(self, death: ChildDeath) -> None:
        self._server_deaths += 1
        if self._server_deaths > MOST_SERVER_DEATHS:
            raise EnvironmentFailure(
                f"the run's own server died again and again (status {death.status}); nothing can be proven"
            )
        pid = self._run_server.start_again()
        self.children.adopt(SERVER, pid)
        self._emit(ProcessStarted(SERVER, pid))

    def _report_disorderly(self, deaths: Iterable[ChildDeath]) -> None:
        """Report those of the children that were asked to end, and did not end in order."""
        self._report([death for death in deaths if death.status != 0])

    def _report(self, deaths: list[ChildDeath]) -> None:
        if any(death.name.startswith(KIND) for death in deaths):
            self._job_table.poll(time.monotonic())  # robots may have moved since the last poll
        for death in deaths:
            robot = self._job_table.robot_of(self._workers.rq_name(death.name)) if death.name.startswith(KIND) else ""
            victim = f"{KIND}{robot}" if robot else death.name  # from now on its robot matters
            self._emit(ProcessDied(victim, death.pid, death.status))
            if death.status not in (0, FENCED) or death.name == SERVER:  # an end in order is no death
                self._unrecorded.append((victim, robot, death.status))

    def _record(self) -> None:
        """Put deaths into the fleet log, which the next lives' restart policy reads, as soon as the server answers."""
        with suppress(Unavailable):
            while self._unrecorded:
                victim, robot, status = self._unrecorded[0]
                incarnation = last_incarnation(self._server.data, self._run, robot, retry_s=0) if robot else 0
                self.log.death(victim, robot, incarnation, "signal" if status < 0 else "exit", status)
                self._unrecorded.popleft()

    def _spawn_relay(self, name: str, shard: int, incarnation: int, holder: str, is_last: bool) -> None:
        about_run = (self._run_server.address.data, self._run, shard, self._new_core)
        arguments = (*about_run, incarnation, holder, self._seed, is_last)
        self._start(name, partial(relay, *arguments))

    def _spawn_worker(self, name: str, rq_name: str) -> None:
        self._start(name, partial(_rq_worker, self._run_server.address, rq_name))

    def _revoke(self, worker: str) -> None:
        revoke(self._server.control, self._run, self._job_table.robots, worker)

    def _start(self, name: str, body: Callable[[], int]) -> None:
        pid = self.children.start(name, body, self._logs / f"{name.replace(':', '-')}.log")
        self._emit(ProcessStarted(name, pid))


def _rq_worker(address: Address, name: str) -> int:
    with Server.at(address) as server:
        return work(server, name)
