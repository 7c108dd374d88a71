"""Which robots take part in a run, and what happens to their jobs, through Redis alone, for RQ workers on any host:

    lost       its lease was not renewed for as long as a lease lasts: the death is recorded, and the robot queued again
    unqueued   dealt, never born, and in no queue, because the dealer died before: it is queued
    waiting    in the queue, and no RQ worker is free: an event reports it, with the parts that only such robots hold;
               for these a robot that holds only learnt parts gives way
    joining    an RQ worker is idle, no robot waits for one, and no lease can be that of a dead RQ worker: a new robot
               joins, without any part, unless the run is closed

Of several runs on a server, the one that lacks robots gets the RQ workers that are idle; when none does, the newest
that may grow. Each leader stores with its lease what its run needs.

What is lost or idle is decided in deploy/rq/observed.py. No process is touched from here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from broker.envelope import robot_name
from broker.ports.run import FleetLog
from broker.streams.run.control import StreamRunControl
from broker.streams.run.evidence import StreamEvidenceReader
from broker.streams.run.injection import send_command
from broker.streams.run.lives import is_unborn, last_incarnation
from broker.streams.run.probes import holds_run
from broker.streams.run.supervisor_lease import Needs
from deploy.attach.context import RunContext
from deploy.attach.discovery import leaders_on
from deploy.rq.observed import JOIN_S, IdleWorkers, JobSeen, LostJobs
from deploy.rq.queue import enqueue_while, prefer, queued_jobs, requeue, rq_workers
from robots.journal import Entry, Header, PartKept, encode_entry, parts_in, readable
from telemetry.events import RobotJoined, RobotLost, RobotWaiting, RobotYielded

WAIT_S: Final = 1.0
"""How long a robot stands in the queue before it counts as waiting."""

REPORT_AGAIN_S: Final = 3.0
"""How often a waiting robot is reported again: the judge takes a report for true for ten seconds."""

ASK_S: Final = 1.0
"""How often it is asked what the other runs on the server need, while an RQ worker is idle."""

MOST_ROBOTS: Final = 500  # in a run, those that joined included
_QUEUED: Final = ("queued", "waiting")


class Membership:
    """The robots of one run."""

    def __init__(self, context: RunContext, run_control: StreamRunControl, log: FleetLog) -> None:
        self._server = context.server
        self._run = context.run
        self._dealt = len(context.info.robots)
        self._is_closed = context.info.is_closed
        self._job_table = context.job_table
        self._emit = context.events.emit
        self._run_control = run_control
        self._evidence = StreamEvidenceReader(self._server.data, self._run)
        self._log = log
        self._lost = LostJobs()
        self._given_up: deque[JobSeen] = deque()  # lost, and not queued again yet
        self._recorded: JobSeen | None = None  # of these the first, when its death is in the fleet log
        self._idle = IdleWorkers()
        self._queued_s: dict[str, float] = {}  # since when robots stand in the queue
        self._reported: dict[str, RobotWaiting] = {}  # robots that wait, and the last report of each
        self._checked: set[str] = set()  # robots whose job was done, and is not to be queued
        self._asked_s = float("-inf")  # what other runs need
        self.needs = Needs(lacks=1)
        """What the run needed when the jobs were last handled; before that, more is not known."""

    @property
    def is_whole(self) -> bool:
        """Whether every robot is run by an RQ worker that renews its lease, or was reported as waiting, or will not
        live again."""
        is_any_unrun = any(_is_idle(job) and job.robot not in self._reported for job in self._job_table.jobs.values())
        return not self._lost.is_any_overdue and not is_any_unrun

    def find_lost(self, now_s: float) -> None:
        """Record the deaths of lost robots, and queue them again. To be called after each poll of the jobs, with its
        time. Raises Unavailable; what was left undone is done by the next call."""
        self._given_up += self._lost.among(self._job_table.jobs.values(), now_s)
        while self._given_up:
            self._give_up(self._given_up[0])
            self._given_up.popleft()

    def handle(self, now_s: float, is_open: bool) -> None:
        """Handle all jobs as the last poll saw them. New robots join, and waiting ones are reported, only while the run
        `is_open`. Otherwise as `find_lost`. Raises RunGone, too."""
        self.find_lost(now_s)
        jobs = list(self._job_table.jobs.values())
        for job in jobs:
            if job.state == "done":
                self._queue_forgotten(job.robot)
        queued = [job.robot for job in jobs if job.state in _QUEUED]
        self._queued_s = {robot: self._queued_s.get(robot, now_s) for robot in queued}
        self._reported = {robot: last for robot, last in self._reported.items() if robot in self._queued_s}
        idle = self._idle_workers(jobs, now_s)
        if is_open:
            self._report_waiting(now_s, bool(idle))
        self.needs = Needs(self._lacks(jobs), is_open and not self._is_closed and self._room > 0)
        if self.needs.grows and not self.needs.lacks:
            self._add_robots(sum(idle_s >= JOIN_S for idle_s in idle.values()), now_s)

    def _lacks(self, jobs: Iterable[JobSeen]) -> int:
        """How many RQ workers are needed by robots that were dealt, or have joined before. At least one while it is not
        known whether each lease is a living RQ worker's."""
        is_any_doubtful = self._lost.is_any_overdue or not self._lost.is_watching
        return max(sum(map(_is_idle, jobs)), int(is_any_doubtful))

    @property
    def _room(self) -> int:
        """For how many more robots."""
        return MOST_ROBOTS - len(self._job_table.robots)

    def _give_up(self, job: JobSeen) -> None:
        """The death is recorded first: the next life's restart policy reads it."""
        if job.lease and job != self._recorded:
            incarnation = last_incarnation(self._server.data, self._run, job.robot, retry_s=0)
            self._log.death(f"rq:{job.robot}", job.robot, incarnation, "lease", 0)
            self._emit(RobotLost(job.robot, job.worker))
            self._recorded = job
        requeue(self._server.control, self._run, job)

    def _queue_forgotten(self, robot: str) -> None:
        if robot in self._checked:
            return
        if is_unborn(self._server.data, self._run, robot):
            self._enqueue(robot)
        self._checked.add(robot)  # once: if its job is done again, there was a reason

    def _idle_workers(self, jobs: Iterable[JobSeen], now_s: float) -> dict[str, float]:
        """RQ workers that have been idle for a while. RQ is asked only if it has more of them than run robots."""
        running = sum(job.is_held for job in jobs)
        return self._idle.among(rq_workers(self._server.control, more_than=running), now_s)

    def _report_waiting(self, now_s: float, is_any_free: bool) -> None:
        if is_any_free:
            return
        waited_s = {robot: now_s - since_s for robot, since_s in self._queued_s.items() if now_s - since_s >= WAIT_S}
        for robot, last in list(self._reported.items()):
            if waited_s.get(robot, 0.0) - last.waited_s >= REPORT_AGAIN_S:
                self._report(RobotWaiting(robot, last.only_here, round(waited_s[robot])))
        fresh = [robot for robot in waited_s if robot not in self._reported]
        if fresh:
            rare = self._parts_only_of(list(waited_s))
            for robot in fresh:
                self._report(RobotWaiting(robot, tuple(sorted(rare & self._parts_of(robot)))))

    def _report(self, waiting: RobotWaiting) -> None:
        self._reported[waiting.robot] = waiting
        self._emit(waiting)
        if waiting.only_here:
            self._make_room_for(waiting.robot)

    def _make_room_for(self, robot: str) -> None:
        """Have the robot run next, by an RQ worker whose robot holds only learnt parts, if there is one. That one may
        refuse (it has just died): then it is tried with the next report."""
        for other in reversed(self._job_table.robots):
            if self._job_table.worker_of(other) and not self._was_dealt_parts(other):
                prefer(self._server.control, self._run, robot)
                send_command(self._server.data, self._run, other, f"yield {other}")
                self._emit(RobotYielded(other, robot))
                return

    def _parts_only_of(self, waiting: list[str]) -> set[int]:
        """The parts that no robot holds but those that wait."""
        others = (robot for robot in self._job_table.robots if robot not in waiting)
        elsewhere = set[int]().union(*map(self._parts_of, others))
        return set[int]().union(*map(self._parts_of, waiting)) - elsewhere

    def _parts_of(self, robot: str) -> set[int]:
        return {part.index for part in parts_in(self._journal(robot))}

    def _was_dealt_parts(self, robot: str) -> bool:
        return any(isinstance(entry, PartKept) and entry.cause is None for entry in self._journal(robot))

    def _journal(self, robot: str) -> list[Entry]:
        return list(readable(row.content for row in self._evidence.journal(robot)))

    def _add_robots(self, count: int, now_s: float) -> None:
        """So many, if no other run needs the RQ workers more."""
        if not count or now_s - self._asked_s < ASK_S:
            return
        self._asked_s = now_s
        is_gone = not holds_run(self._server.data, self._run)
        if is_gone or queued_jobs(self._server.control) or self._is_other_first():
            return
        for _ in range(min(count, self._room)):
            number = max(int(robot[1:]) for robot in self._job_table.robots) + 1
            robot = robot_name(number, self._dealt)
            self._run_control.admit(robot, [encode_entry(Header("joined"))])
            self._job_table.admit(robot)
            self._enqueue(robot)
            self._emit(RobotJoined(robot))

    def _is_other_first(self) -> bool:
        """Whether another run lacks robots, or is newer and may grow as well. A run that is not led cannot use an RQ
        worker that is idle: its robots are in the queue, or in no queue."""
        is_newer = True
        for run, leader in leaders_on(self._server.data):
            if run == self._run:
                is_newer = False
            elif leader is not None and (leader.needs.lacks or (leader.needs.grows and is_newer)):
                return True
        return False

    def _enqueue(self, robot: str) -> None:
        """Raises RunGone, Unavailable."""
        enqueue_while(self._server.control, self._run, robot, lambda: holds_run(self._server.data, self._run))


def _is_idle(job: JobSeen) -> bool:
    """Whether the robot is to live, and no RQ worker runs it."""
    return not job.is_held and job.state != "done"
