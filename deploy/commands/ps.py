"""`robots ps`: a live run: its robots with state, life, process, deaths and restart budget; its relays, its supervisor
and its server.

It only reads: nothing is written on the server.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Final

from cyclopts import App, Parameter
from msgspec.structs import replace

from broker.errors import Unavailable
from broker.ports.robot import FleetRow, JournalRow
from broker.streams.connection import Server
from broker.streams.outage import ServerWatch
from broker.streams.run.evidence import StreamEvidenceReader
from broker.streams.run.fleet_log import StreamFleetLog
from broker.streams.run.probes import now_us
from broker.streams.run.runs import read_run_status
from broker.streams.run.supervisor_lease import read_leader
from deploy.attach.context import read_settings
from deploy.attach.discovery import RunLocation, find_live, is_live_here, state_of
from deploy.attach.processes import ProcessSeen, relays_of, seen_servers, supervisor_in
from deploy.commands.output import in_columns, print_result, report
from deploy.commands.outputs import RobotStatus, RunningRobots, answer_line
from deploy.commands.service import Run, pause, reached, workers_line
from deploy.config.flags import Given, takes
from deploy.config.settings import MOST_HERTZ, PlaceSettings, load_place
from deploy.errors import INTERRUPTED, EnvironmentFailure, UsageError
from deploy.processes.signals import ShutdownSignals
from deploy.rq.leases import LEASE_S
from deploy.rq.observed import JobSeen
from deploy.rq.queue import WorkerCount, count_workers, poll_jobs
from deploy.watching.repainting import Extent, Repainting
from deploy.watching.terminal import seen_terminal
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
  robots ps --watch
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


Watch = Annotated[bool, Parameter(help="Paint it again and again, until the run is over.", show_default=False)]
Hertz = Annotated[float, Parameter(name="--hz", metavar="N", help="With --watch: how often, a second.")]


@app.default
@takes(PlaceSettings)
def ps(run: Run = None, /, *, watch: Watch = False, hz: Hertz = 1.0, given: Given) -> int:
    """Show the robots of a live run, and its other processes."""
    place = load_place(given)
    if not 0 < hz <= MOST_HERTZ:
        raise UsageError(f"--hz: {hz:g} is outside of what is allowed: above 0, at most {MOST_HERTZ}")
    location = find_live(place.runs_dir, run, place.address)
    with reached(location.address) as server:
        if watch:
            with ShutdownSignals() as shutdown:
                return _watch(server, location, shutdown, 1 / hz, is_json=place.json_)
        try:
            seen = _read(server, location)
        except Unavailable as error:
            raise EnvironmentFailure(f"the server of run {location.run} went away: {error}") from None
    print_result(answer_line(seen) if place.json_ else "\n".join(_lines(seen)))
    return 0


def _watch(server: Server, where: RunLocation, shutdown: ShutdownSignals, every_s: float, *, is_json: bool) -> int:
    """Print it every `every_s` seconds, until the run is over or a signal comes; the exit code. Raises ServerGone, and
    NoSuchRun at the first time."""
    screen, away, seen = _Table(is_json), ServerWatch(lambda _line: None), None
    while shutdown.reason is None:
        is_over = where.parent is not None and not is_live_here(where)  # first: what is read below is its last state
        try:
            seen = _read(server, where)
            is_over = is_over or _is_stopped(server, where.run)
            away.answered()
        except Unavailable:
            if not is_over:
                away.silent()
        except NoSuchRun:
            if seen is None:
                raise
            is_over = True
        is_read = screen.show(seen, away.away_s)
        if is_over:
            report(f"run {where.run} is over")
        if is_over or not is_read:
            return 0
        pause(shutdown, every_s)
    return INTERRUPTED


class _Table:
    """Where the table is printed: at the same place of a terminal, or one below the other."""

    def __init__(self, is_json: bool) -> None:
        self._is_json = is_json
        self._repainting = Repainting()

    def show(self, seen: RunningRobots | None, away_s: float) -> bool:
        """Print what was seen last; False when its reader is gone."""
        is_away = away_s >= 1
        if self._is_json:
            return is_away or seen is None or print_result(answer_line(seen))
        lines = [] if seen is None else list(_lines(seen))
        if is_away:
            lines.append(f"the server does not answer, for {away_s:.0f} s now")
        terminal = seen_terminal(os.environ)
        extent = Extent(terminal.columns, terminal.lines) if terminal.moves_cursor else None
        move, text = self._repainting.text(lines, extent)
        return print_result(text, move)


def _is_stopped(server: Server, run: str) -> bool:
    run_status = read_run_status(server.data, run)
    return run_status is None or run_status.stop is not None


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
