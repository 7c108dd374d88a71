"""`robots ps`: a live run: its robots with state, life, process, deaths and restart budget; its relays, its supervisor
and its server.

It only reads: nothing is written on the server.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from cyclopts import App
from msgspec.structs import replace

from broker.errors import Unavailable
from broker.ports.robot import FleetRow, JournalRow
from broker.streams.connection import Server
from broker.streams.run.evidence import StreamEvidenceReader
from broker.streams.run.fleet_log import StreamFleetLog
from broker.streams.run.probes import now_us
from broker.streams.run.runs import read_run_status
from broker.streams.run.supervisor_lease import read_leader
from deploy.attach.context import read_settings
from deploy.attach.discovery import RunLocation, find_live, state_of
from deploy.attach.processes import ProcessSeen, relays_of, seen_servers, supervisor_in
from deploy.commands.output import in_columns, print_result
from deploy.commands.outputs import RobotStatus, RunningRobots, answer_line
from deploy.commands.service import Run, reached, workers_line
from deploy.config.flags import Given, takes
from deploy.config.settings import PlaceSettings, load_place
from deploy.errors import EnvironmentFailure
from deploy.rq.leases import LEASE_S
from deploy.rq.observed import JobSeen
from deploy.rq.queue import WorkerCount, count_workers, poll_jobs
from robots.journal import parts_in, readable
from robots.restart_budget import charged, deaths_of
from robots.run.chaos import paused_in
from robots.supervision import GiveUp, RestartPolicy
from telemetry.console import printable
from telemetry.phrases import counted, named_parts
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
_PROCESS_HEAD: Final = ("process", "state", "holder", "pid", "host", "last sign")
_POLICY: Final = RestartPolicy()  # of every robot
_LIVING: Final = ("running", "paused", "taken")
_ABSENT: Final = ("queued", "waiting", "lost")


app = App(name="ps", help_epilogue=EXAMPLES)


@app.default
@takes(PlaceSettings)
def ps(run: Run = None, /, *, given: Given) -> int:
    """Show the robots of a live run, and its other processes."""
    place = load_place(given)
    location = find_live(place.runs_dir, run, place.address)
    with reached(location.address) as server:
        try:
            seen = _read(server, location)
        except Unavailable as error:
            raise EnvironmentFailure(f"the server of run {location.run} went away: {error}") from None
    print_result(answer_line(seen) if place.json_ else "\n".join(_lines(seen)))
    return 0


def _read(server: Server, where: RunLocation) -> RunningRobots:
    """Raises NoSuchRun, Unavailable."""
    run = where.run
    run_status = read_run_status(server.data, run)
    if run_status is None:
        raise NoSuchRun(f"run {run} is not dealt on its server, or not yet; try again in a moment")
    jobs = poll_jobs(server.control, run, run_status.robots)
    evidence, rows = StreamEvidenceReader(server.data, run), StreamFleetLog(server.data, run).rows()
    server_us, paused = now_us(server.data, run), paused_in(rows)
    journals = {job.robot: evidence.journal(job.robot) for job in jobs}
    parts = {robot: _parts(journal) for robot, journal in journals.items()}
    robots = [_robot_status(job, journals[job.robot], rows, server_us, paused) for job in jobs]
    settings, workers = read_settings(server.data, run), count_workers(server.control)
    state = state_of(run_status, settings)
    if state == "live":
        robots = _with_rare_parts(robots, parts)
    return RunningRobots(
        run,
        state,
        settings is not None and settings.closed,
        robots,
        [
            *relays_of(server.data, run, run_status.shards, paused),
            supervisor_in(read_leader(server.data, run)),
            *seen_servers(server),
        ],
        workers.all,
        workers.free,
    )


def _with_rare_parts(robots: list[RobotStatus], parts: Mapping[str, set[int]]) -> list[RobotStatus]:
    """Of robots that are to live and do not, the parts that no living one holds."""
    living = set[int]().union(*(parts[robot.robot] for robot in robots if robot.state in _LIVING))
    return [
        replace(robot, only_here=sorted(parts[robot.robot] - living)) if robot.state in _ABSENT else robot
        for robot in robots
    ]


def _parts(journal: list[JournalRow]) -> set[int]:
    return {part.index for part in parts_in(readable(row.content for row in journal))}


def _robot_status(
    job: JobSeen, journal: list[JournalRow], rows: list[FleetRow], now_us: int, paused: Collection[str]
) -> RobotStatus:
    times = charged(rows, job.robot)
    return RobotStatus(
        robot=job.robot,
        state="paused" if job.state == "running" and job.robot in paused else job.state,
        incarnation=journal[-1].incarnation if journal else 0,
        parts=len(_parts(journal)),
        worker=job.worker,
        pid=job.pid or None,
        host=job.host,
        beat_s=round(max(0.0, LEASE_S - job.lease_left_s), 1) if job.lease else None,
        lease_left_s=round(job.lease_left_s, 1) if job.lease else None,
        deaths=len(deaths_of(rows, job.robot)),
        charged=len(times),
        budget_left=_budget_left(times, now_us),
        only_here=[],
    )


def _budget_left(times: list[int], now_us: int) -> int:
    """How many more deaths are allowed now; 0 for a robot that is not restarted any more."""
    if times and isinstance(_POLICY.decide(times, times[-1], 0.5), GiveUp):
        return 0
    return _POLICY.max_restarts - sum(now_us - time_us < _POLICY.window_us for time_us in times)


def _lines(seen: RunningRobots) -> Iterator[str]:
    waiting = sum(robot.state in ("queued", "waiting") for robot in seen.robots)
    yield f"run {seen.run}  {seen.state}{'  closed' * seen.closed}  {counted(len(seen.robots), 'robot')}" + (
        f", {waiting} of them waiting for an RQ worker" * bool(waiting)
    )
    yield from in_columns(_HEAD, [_cells(robot) for robot in seen.robots])
    for robot in seen.robots:
        if robot.only_here:
            yield f"{robot.robot} is {robot.state}: no living robot holds {named_parts(robot.only_here)}"
    yield ""
    yield from in_columns(_PROCESS_HEAD, [_process_cells(process) for process in seen.processes])
    yield workers_line(WorkerCount(seen.free, seen.workers))


def _cells(robot: RobotStatus) -> tuple[str, ...]:
    where = (printable(robot.worker) or "-", str(robot.pid or "-"), printable(robot.host) or "-")
    life = (robot.robot, robot.state, str(robot.incarnation), str(robot.parts))
    return (*life, *where, _ago(robot.beat_s), *map(str, (robot.deaths, robot.charged, robot.budget_left)))


def _process_cells(process: ProcessSeen) -> tuple[str, ...]:
    where = (printable(process.holder) or "-", str(process.pid or "-"), printable(process.host) or "-")
    return (process.process, process.state, *where, _ago(process.sign_s))


def _ago(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f} s ago"
