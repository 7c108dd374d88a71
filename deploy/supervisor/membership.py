"""What is done about robots' jobs through Redis alone, for RQ workers on any host:

    lost       nobody was heard of for as long as a lease lasts: the death is told, and the robot queued again
    unqueued   dealt, never born, and in no queue: whoever dealt it did not come to that
    waiting    in the queue, and no RQ worker is free: that is told, with the parts that only such robots hold
    joining    an RQ worker has been idle, and nobody waits for it: a new robot joins with empty hands

Told by looking (deploy/rq/observed.py) and by our own clock. No process is touched from here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from broker.envelope import robot_name
from broker.ports.run import FleetLog
from broker.streams.run.control import StreamRunControl
from broker.streams.run.fleet_log import is_unborn, last_incarnation
from deploy.attach.context import RunContext
from deploy.attach.discovery import newest_on
from deploy.rq.observed import IdleWorkers, JobSeen, LostJobs
from deploy.rq.queue import enqueue_robot, requeue, rq_workers
from robots.journal import Header, encode_entry, parts_in, readable
from telemetry.events import RobotJoined, RobotLost, RobotWaiting

WAIT_S: Final = 1.0
"""So long must a robot have stood in the queue before it is told to wait; so long must an RQ worker have been idle."""

TELL_AGAIN_S: Final = 3.0
"""So often is it told again that a robot waits: the judge believes it for ten seconds."""

MOST_ROBOTS: Final = 500  # in a run, those that joined included
_QUEUED: Final = ("queued", "waiting")


class Membership:
    """Looks after the robots of one run."""

    def __init__(self, context: RunContext, run_control: StreamRunControl, log: FleetLog) -> None:
        self._client = context.client
        self._run = context.run
        self._dealt = len(context.info.robots)
        self._job_table = context.job_table
        self._emit = context.events.emit
        self._run_control = run_control
        self._log = log
        self._lost = LostJobs()
        self._given_up: deque[JobSeen] = deque()  # lost, and not queued again yet
        self._mourned: JobSeen | None = None  # of these the first, when its death is told
        self._idle = IdleWorkers()
        self._queued_s: dict[str, float] = {}  # since when robots stand in the queue
        self._told: dict[str, RobotWaiting] = {}  # robots that are known to wait, and what was told last of each
        self._lived: dict[str, None] = {}  # robots whose job was done, and is not forgotten any more

    @property
    def is_whole(self) -> bool:
        """Whether every robot is run by somebody, or waits and that was told, or will not live again."""
        return not any(_is_idle(job) and job.robot not in self._told for job in self._job_table.jobs.values())

    def find_lost(self, now_s: float) -> None:
        """Tell the deaths of robots that are lost, and queue them again. To be called after each look at the board,
        with its time. Raises Unavailable; what was left undone is done next time."""
        self._given_up += self._lost.among(self._job_table.jobs.values(), now_s)
        while self._given_up:
            self._give_up(self._given_up[0])
            self._given_up.popleft()

    def attend(self, now_s: float, is_open: bool) -> None:
        """Do all that the last look at the board demands; new robots join, and robots wait, only while the run
        `is_open` to them. Otherwise as `find_lost`. Raises RunGone, too."""
        self.find_lost(now_s)
        jobs = list(self._job_table.jobs.values())
        for job in jobs:
            if job.state == "done":
                self._queue_forgotten(job.robot)
        queued = [job.robot for job in jobs if job.state in _QUEUED]
        self._queued_s = {robot: self._queued_s.get(robot, now_s) for robot in queued}
        self._told = {robot: told for robot, told in self._told.items() if robot in self._queued_s}
        idle = self._idle_workers(jobs, now_s)
        if is_open:
            self._tell_waiting(now_s, bool(idle))
        is_needed = self._lost.is_in_doubt or any(map(_is_idle, jobs))
        if is_open and idle and not is_needed:  # by a robot that was dealt, or has joined before
            self._let_join(len(idle))

    def _give_up(self, job: JobSeen) -> None:
        """The death is told first: the next life obeys the restart policy."""
        if job.lease and job != self._mourned:
            incarnation = last_incarnation(self._client, self._run, job.robot, retry_s=0)
            self._log.death(f"rq:{job.robot}", job.robot, incarnation, "lease", 0)
            self._emit(RobotLost(job.robot, job.worker))
            self._mourned = job
        requeue(self._client, self._run, job)

    def _queue_forgotten(self, robot: str) -> None:
        if robot in self._lived:
            return
        if is_unborn(self._client, self._run, robot):
            enqueue_robot(self._client, self._run, robot)
        self._lived[robot] = None  # once: if its job is done again, there was a reason

    def _idle_workers(self, jobs: Iterable[JobSeen], now_s: float) -> list[str]:
        """RQ workers that have been idle for a while. Looked at only if there are more than run robots."""
        running = sum(job.is_held for job in jobs)
        return self._idle.among(rq_workers(self._client, more_than=running), now_s)

    def _tell_waiting(self, now_s: float, is_any_free: bool) -> None:
        if is_any_free:
            return
        waited_s = {robot: now_s - since_s for robot, since_s in self._queued_s.items() if now_s - since_s >= WAIT_S}
        for robot, told in self._told.items():
            if waited_s.get(robot, 0.0) - told.waited_s >= TELL_AGAIN_S:
                self._tell(RobotWaiting(robot, told.only_here, round(waited_s[robot])))
        fresh = [robot for robot in waited_s if robot not in self._told]
        if fresh:
            rare = self._parts_only_of(list(waited_s))
            for robot in fresh:
                self._tell(RobotWaiting(robot, tuple(sorted(rare & self._parts_of(robot)))))

    def _tell(self, waiting: RobotWaiting) -> None:
        self._told[waiting.robot] = waiting
        self._emit(waiting)

    def _parts_only_of(self, waiting: list[str]) -> set[int]:
        """The parts that no robot holds but those that wait."""
        others = (robot for robot in self._job_table.robots if robot not in waiting)
        elsewhere = set[int]().union(*map(self._parts_of, others))
        return set[int]().union(*map(self._parts_of, waiting)) - elsewhere

    def _parts_of(self, robot: str) -> set[int]:
        rows = self._run_control.journal(robot)
        return {part.index for part in parts_in(readable(row.content for row in rows))}

    def _let_join(self, count: int) -> None:
        """Of several runs on a server, new robots join the newest."""
        if newest_on(self._client) != self._run:
            return
        for _ in range(min(count, MOST_ROBOTS - len(self._job_table.robots))):
            number = max(int(robot[1:]) for robot in self._job_table.robots) + 1
            robot = robot_name(number, self._dealt)
            self._run_control.admit(robot, [encode_entry(Header("joined"))])
            self._job_table.admit(robot)
            enqueue_robot(self._client, self._run, robot)
            self._emit(RobotJoined(robot))


def _is_idle(job: JobSeen) -> bool:
    """Whether nobody runs the robot, and somebody should."""
    return not job.is_held and job.state != "done"
