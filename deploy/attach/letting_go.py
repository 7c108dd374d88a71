"""Lets a live run begin that is held back, from any process that reaches its server.

Whether it can begin at once is known only by its leader: here the order `begin` is given, and what came of it is read.
"""

from __future__ import annotations

import time
from typing import Final

import msgspec

from broker.errors import RunGone
from broker.streams.connection import DataClient
from broker.streams.run.control import StreamRunControl
from broker.streams.run.lives import last_incarnation
from broker.streams.run.runs import RunStatus, read_run_status
from broker.streams.run.supervisor_lease import read_leader
from deploy.attach.context import read_settings
from deploy.attach.discovery import HELD_BACK, state_of
from deploy.errors import EnvironmentFailure, UsageError
from telemetry.phrases import counted
from telemetry.record.folder import NoSuchRun

WAIT_S: Final = 1.5  # for the leader to give `go`: it reads its orders every tenth of a second
_POLL_S: Final = 0.05


class LetGo(msgspec.Struct, frozen=True):
    """`robots go`: what came of it for a `run`: whether it has `begun` by now. Of its `robots` so many are `born`;
    `led`: whether a supervisor leads it, as every run needs."""

    run: str
    begun: bool
    robots: int
    born: int
    led: bool

    @property
    def text(self) -> str:
        """The same, for a person."""
        robots = counted(self.robots, "robot")
        if self.begun:
            return f"run {self.run}: go, with {self.born} of {robots} born"
        if not self.led:
            return f"run {self.run} has no supervisor: it begins once one leads it (robots supervise)"
        if self.born < self.robots:
            return f"run {self.run}: {self.born} of {robots} are born; it begins when all are, or after some seconds"
        return f"run {self.run}: all {robots} are born; its leader has not given go yet"


def is_held_back(client: DataClient, run: str) -> bool:
    """Whether a run waits for that order. Raises Unavailable."""
    run_status = read_run_status(client, run)
    return run_status is not None and state_of(run_status, read_settings(client, run)) == HELD_BACK


def let_go(client: DataClient, run: str) -> LetGo:
    """Give the order, and wait a moment for `go`. Twice does no harm before that. Raises NoSuchRun (it is over, or gone
    from its server), UsageError (it is not held back), EnvironmentFailure (it has begun), Unavailable."""
    run_status = _status(client, run)
    _check(client, run, run_status)
    if not run_status.may_begin:
        try:
            StreamRunControl(client, run).order("begin")
        except RunGone:
            raise _gone(run) from None
    deadline = time.monotonic() + WAIT_S
    while run_status.go_ms is None and run_status.stop is None and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        run_status = _status(client, run)
    born = sum(last_incarnation(client, run, robot) > 0 for robot in run_status.robots)
    leader = read_leader(client, run)
    is_led = leader is not None and leader.leads
    return LetGo(run, run_status.go_ms is not None, len(run_status.robots), born, is_led)


def _status(client: DataClient, run: str) -> RunStatus:
    run_status = read_run_status(client, run)
    if run_status is None:
        raise _gone(run)
    return run_status


def _check(client: DataClient, run: str, run_status: RunStatus) -> None:
    if run_status.stop is not None:
        raise NoSuchRun(f"run {run} is over; judge it with: robots verify {run}")
    if run_status.go_ms is not None:
        raise EnvironmentFailure(f"run {run} has begun before: go was given")
    settings = read_settings(client, run)
    if settings is None:
        raise EnvironmentFailure(f"run {run} was dealt by another version, or not whole: its settings cannot be read")
    if not settings.hold:
        raise UsageError(f"run {run} is not held back (--hold): it begins by itself when its robots are born")


def _gone(run: str) -> NoSuchRun:
    return NoSuchRun(f"run {run} is gone from its server, or not dealt there yet")
