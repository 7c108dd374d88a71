"""`robots ps`: the robots of a live run: their state, life, process, deaths and restart budget.

It only reads: nothing is written on the server.
"""

from __future__ import annotations

from typing import Final

from cyclopts import App

from broker.errors import Unavailable
from broker.ports.robot import FleetRow, JournalRow
from broker.streams.connection import Server
from broker.streams.run.evidence import StreamEvidenceReader
from broker.streams.run.fleet_log import StreamFleetLog
from broker.streams.run.probes import now_us
from broker.streams.run.runs import read_run_status
from deploy.attach.discovery import RunLocation, find_live
from deploy.commands.output import in_columns, print_result
from deploy.commands.outputs import RobotStatus, RunningRobots, answer_line
from deploy.commands.service import Run, reached
from deploy.config.flags import Given, takes
from deploy.config.settings import PlaceSettings, load_place
from deploy.errors import EnvironmentFailure
from deploy.rq.leases import LEASE_S
from deploy.rq.observed import JobSeen
from deploy.rq.queue import poll_jobs
from robots.journal import parts_in, readable
from robots.restart_budget import charged, deaths_of
from robots.supervision import GiveUp, RestartPolicy
from telemetry.console import printable
from telemetry.record.folder import NoSuchRun

EXAMPLES: Final = """\
Examples:

  robots ps
  robots ps 7b08e1 --json
  robots ps 7b08e1 --redis-url redis://lab.example:6379
"""

_HEAD: Final = (
    *("robot", "state", "life", "parts", "RQ worker", "pid", "host", "last beat", "deaths", "charged", "budget left"),
)
_POLICY: Final = RestartPolicy()  # of every robot


app = App(name="ps", help_epilogue=EXAMPLES)


@app.default
@takes(PlaceSettings)
def ps(run: Run = None, /, *, given: Given) -> int:
    """Show the robots of a live run."""
    place = load_place(given)
    location = find_live(place.runs_dir, run, place.address)
    with reached(location.address) as server:
        try:
            robots = _robots(server, location)
        except Unavailable as error:
            raise EnvironmentFailure(f"the server of run {location.run} went away: {error}") from None
    if place.json_:
        print_result(answer_line(RunningRobots(location.run, robots)))
    else:
        print_result("\n".join(in_columns(_HEAD, [_cells(robot) for robot in robots])))
    return 0


def _robots(server: Server, where: RunLocation) -> list[RobotStatus]:
    """Raises NoSuchRun, Unavailable."""
    run = where.run
    run_status = read_run_status(server.data, run)
    if run_status is None:
        raise NoSuchRun(f"run {run} is not dealt on its server, or not yet; try again in a moment")
    jobs = poll_jobs(server.control, run, run_status.robots)
    evidence, rows, server_us = (
        StreamEvidenceReader(server.data, run),
        StreamFleetLog(server.data, run).rows(),
        now_us(server.data, run),
    )
    return [_robot_status(job, evidence.journal(job.robot), rows, server_us) for job in jobs]


def _robot_status(job: JobSeen, journal: list[JournalRow], rows: list[FleetRow], now_us: int) -> RobotStatus:
    times = charged(rows, job.robot)
    return RobotStatus(
        robot=job.robot,
        state=job.state,
        incarnation=journal[-1].incarnation if journal else 0,
        parts=len({part.index for part in parts_in(readable(row.content for row in journal))}),
        worker=job.worker,
        pid=job.pid or None,
        host=job.host,
        beat_s=round(max(0.0, LEASE_S - job.lease_left_s), 1) if job.lease else None,
        lease_left_s=round(job.lease_left_s, 1) if job.lease else None,
        deaths=len(deaths_of(rows, job.robot)),
        charged=len(times),
        budget_left=_budget_left(times, now_us),
    )


def _budget_left(times: list[int], now_us: int) -> int:
    """How many more deaths are allowed now; 0 for a robot that is not restarted any more."""
    if times and isinstance(_POLICY.decide(times, times[-1], 0.5), GiveUp):
        return 0
    return _POLICY.max_restarts - sum(now_us - time_us < _POLICY.window_us for time_us in times)


def _cells(robot: RobotStatus) -> tuple[str, ...]:
    beat = "-" if robot.beat_s is None else f"{robot.beat_s:.1f} s ago"
    where = (printable(robot.worker) or "-", str(robot.pid or "-"), printable(robot.host) or "-")
    life = (robot.robot, robot.state, str(robot.incarnation), str(robot.parts))
    return (*life, *where, beat, *map(str, (robot.deaths, robot.charged, robot.budget_left)))
