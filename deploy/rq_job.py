"""A job as RQ workers for robots take it from the network: it can name one function, and nothing else.

RQ imports whatever dotted name a job holds, for the function and for its callbacks. Here nothing is ever imported by a
name; what is not allowed is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

from rq.job import Job

from deploy import robot_job

ROBOT_JOB: Final = "deploy.robot_job.live"


class RefusedJob(Exception):
    """The job names a function that is not allowed. Nothing was imported, nothing was run."""


class RobotJob(Job):
    """A job as it may come from the network: of all that RQ would import or call by name, only the robot is left."""

    allowed: ClassVar[dict[str, Callable[..., Any]]] = {ROBOT_JOB: robot_job.live}

    @property
    def func(self) -> Callable[..., Any]:
        """The allowed function of that name. Raises RefusedJob."""
        if self.instance is None and self.func_name in self.allowed:
            return self.allowed[self.func_name]
        raise RefusedJob(f"{self.func_name!r} is no robot's job")

    @property
    def success_callback(self) -> None:
        """Never any."""

    @property
    def failure_callback(self) -> None:
        """Never any."""

    @property
    def stopped_callback(self) -> None:
        """Never any."""

    def send_webhooks(self, *_status: Any, **_details: Any) -> None:
        """Never any: a job must not choose whom we call."""
