"""`robots ps`: how the robots of a live run fare: who runs them, which life it is, and how many more they may have.

Only looked at: nothing is written on the server, and the run does not notice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
import redis

from broker.ports import FleetRow, Unavailable
from broker.streams.connection import check_server, connect
from broker.streams.controls import read_course
from broker.streams.fleet_log import StreamFleetLog, last_incarnation
from broker.streams.patience import TROUBLE
from deploy.commands.columns import in_columns
from deploy.commands.faults import Run, Where
from deploy.commands.output import show
from deploy.discovery import Whereabouts, find_live
from deploy.environment import Unable
from deploy.filing import json_line
from deploy.robot_queue import JobSeen, State, look
from robots.lives import charged, deaths_of
from robots.supervision import GiveUp, RestartPolicy
from telemetry.plain import printable
from telemetry.record import NoSuchRun

EXAMPLES: Final = """\
Examples:

  robots ps
  robots ps 7b08e1 --json
  robots ps 7b08e1 --redis-url redis://lab.example:6379
"""

_HEAD: Final = ("robot", "state", "life", "deaths", "charged", "budget left", "lease left", "RQ worker")
_HERE: Final = Where()
_POLICY: Final = RestartPolicy()  # what a robot obeys before it is born


class _Fares(msgspec.Struct, frozen=True):
    """A robot. `incarnation` is its last life, and so the number of its lives (0: none yet); of its `deaths` those that
    nobody brought about are `charged`, and `budget_left` more may be within the policy's window."""

    robot: str
    state: State
    incarnation: int
    deaths: int
    charged: int
    budget_left: int
    lease_left_s: float | None
    worker: str


def ps(run: Run = None, /, *, where: Where = _HERE) -> int:
    """Show how the robots of a live run fare.

    RUN is an id, a unique prefix, a folder or `latest`; by default the newest run that is live."""
    whereabouts = find_live(Path(where.runs_dir), run, where.redis_url)
    with connect(whereabouts.url) as client:
        check_server(client)
        try:
            robots = _robots(client, whereabouts)
        except Unavailable as error:
            raise Unable(f"the server of run {whereabouts.run} went away: {error}") from None
    if where.json_:
        show(json_line({"run": whereabouts.run, "robots": [msgspec.structs.asdict(robot) for robot in robots]}))
    else:
        show("\n".join(in_columns(_HEAD, [_words(robot) for robot in robots])))
    return 0


def _robots(client: redis.Redis, where: Whereabouts) -> list[_Fares]:
    """Raises NoSuchRun, Unavailable."""
    run = where.run
    course = read_course(client, run)
    if course is None:
        raise NoSuchRun(f"run {run} is not dealt on its server, or not yet; try again in a moment")
    jobs = look(client, run, course.robots)
    rows, now_us = StreamFleetLog(client, run).rows(), _server_us(client)
    return [_fares(job, last_incarnation(client, run, job.robot), rows, now_us) for job in jobs]


def _fares(job: JobSeen, incarnation: int, rows: list[FleetRow], now_us: int) -> _Fares:
    times = charged(rows, job.robot)
    return _Fares(
        job.robot,
        job.state,
        incarnation,
        len(deaths_of(rows, job.robot)),
        len(times),
        _budget_left(times, now_us),
        round(job.lease_left_s, 1) if job.lease else None,
        job.worker,
    )


def _budget_left(times: list[int], now_us: int) -> int:
    """How many more deaths are borne now; 0 for a robot that stays dead, however long ago that was decided."""
    if times and isinstance(_POLICY.decide(times, times[-1], 0.5), GiveUp):
        return 0
    return _POLICY.max_restarts - sum(now_us - time_us < _POLICY.window_us for time_us in times)


def _server_us(client: redis.Redis) -> int:
    """The server's clock, which dates the deaths."""
    try:
        seconds, microseconds = client.time()
    except TROUBLE as error:
        raise Unavailable(f"time: {error}") from error
    return int(seconds) * 1_000_000 + int(microseconds)


def _words(robot: _Fares) -> tuple[str, ...]:
    lease = "-" if robot.lease_left_s is None else f"{robot.lease_left_s:.1f} s"
    counts = (robot.incarnation, robot.deaths, robot.charged, robot.budget_left)
    return (robot.robot, robot.state, *map(str, counts), lease, printable(robot.worker) or "-")
