"""Where the jobs of a run's robots stand, as it was last seen: looked at now and then, and shared by all who need it.

Remembered, because RQ cannot be asked while the server is away. Nothing is done about any job here.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import redis

from broker.errors import Unavailable
from deploy.robot_queue import JobSeen, look

LOOK_S: Final = 0.25
"""Between two looks; many robots cost a look some time, and are looked at half as often at the most."""

_MANY: Final = 800  # robots, for which a second would be enough


class JobBoard:
    """`jobs` is what the last look saw, `looked_s` when that was (`time.monotonic`)."""

    def __init__(self, client: redis.Redis, run: str, robots: tuple[str, ...]) -> None:
        self._client = client
        self._run = run
        self.robots = robots
        self.jobs: dict[str, JobSeen] = {}
        self.looked_s = float("-inf")
        self._ran: dict[str, str] = {}  # RQ's name of an RQ worker → its robot

    def admit(self, robot: str) -> None:
        """Look at this robot's job as well, from now on."""
        if robot not in self.robots:
            self.robots = (*self.robots, robot)

    def is_due(self, now_s: float) -> bool:
        """Whether it is time for another look."""
        return now_s - self.looked_s >= min(2 * LOOK_S, max(LOOK_S, len(self.robots) / _MANY))

    def look(self, now_s: float) -> bool:
        """Look now. False, and nothing has changed, while the server is away, or refuses to be written."""
        with suppress(Unavailable):
            seen = look(self._client, self._run, self.robots, could_renew=True)
            self.jobs = {job.robot: job for job in seen}
            self._ran = {job.worker: job.robot for job in seen if job.lease}
            self.looked_s = now_s
            return True
        return False

    def robot_of(self, worker: str) -> str:
        """Which robot an RQ worker runs, or ran when it died; empty when none is known."""
        return self._ran.get(worker, "")

    def worker_of(self, robot: str) -> str:
        """RQ's name of the RQ worker that holds the robot's job; empty when nobody does."""
        job = self.jobs.get(robot)
        return job.worker if job is not None and job.lease else ""
