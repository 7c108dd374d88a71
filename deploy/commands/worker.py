"""`robots worker`: RQ workers for robots, on any host that reaches the server."""

from __future__ import annotations

from typing import Annotated, Final

from cyclopts import Parameter

from deploy.attach.discovery import find_live
from deploy.commands.output import tell
from deploy.commands.service import Service, reached
from deploy.config.host import demand_linux
from deploy.config.settings import INTERRUPTED
from deploy.errors import EnvironmentFailure, UsageError
from deploy.fleet.worker_group import WorkerGroup
from deploy.processes.signals import ShutdownSignals
from telemetry.record.folder import NoSuchRun

EXAMPLES: Final = """\
Examples:

  robots worker
  robots worker -n 5 --redis-url redis://lab.example:6379

RQ's own command does the same, without the fork of a preloaded process:

  rq worker -w deploy.rq_worker.RobotWorker --url redis://lab.example:6379 robots
"""

MOST: Final = 200
_SERVICE: Final = Service()


def worker(
    *,
    count: Annotated[int, Parameter(name=["--count", "-n"], help="How many RQ workers.")] = 1,
    service: Service = _SERVICE,
) -> int:
    """Start RQ workers for robots, on any host.

    Each runs one robot that waits in the queue; when none does and a run goes on, a new one joins it. Ends with Ctrl-C
    or SIGTERM, its robots handed back; and with the run, if that has a server of its own."""
    demand_linux()
    if not 1 <= count <= MOST:
        raise UsageError(f"--count: {count} is outside of what is allowed: 1 to {MOST}")
    run, url = (None, service.redis_url) if service.redis_url else _live(service)
    with reached(url):
        pass  # it answers
    with ShutdownSignals() as shutdown:
        tell(f"{count} RQ worker{'s' * (count > 1)} for robots" + (f" of run {run}" if run else ""))
        left = WorkerGroup(url, count, tell).run(shutdown, lambda: run is not None and not _is_live(service, run))
    if shutdown.reason is None and not left:
        raise EnvironmentFailure("no RQ worker is left")
    return INTERRUPTED if shutdown.reason == "interrupted" else 0


def _live(service: Service) -> tuple[str, str]:
    """The newest live run here, and its server, which ends with it. Raises NoSuchRun, Unable."""
    where = find_live(service.runs, None, None)
    return where.run, where.url


def _is_live(service: Service, run: str) -> bool:
    try:
        find_live(service.runs, run, None)
    except NoSuchRun:
        return False
    return True
