"""The order to stop, for a run that is led by others: it is given once, and the robots get time to end their lives."""

from __future__ import annotations

import time
from typing import Final

from broker.errors import RunGone
from broker.streams.connection import Server
from broker.streams.run.control import StreamRunControl
from broker.streams.run.runs import read_run_status
from deploy.rq.queue import poll_jobs

ROBOTS_END_S: Final = 3.0  # for robots to end their lives, after the order to stop
"""No robot is waited for longer: the evidence shows which were stopped or cut off."""

_POLL_S: Final = 0.1


def stop_run(server: Server, run: str) -> bool:
    """Give the order, and wait until no robot runs, ROBOTS_END_S at most. False: it was given before. Raises RunGone,
    Unavailable."""
    run_status = read_run_status(server.data, run)
    if run_status is None:
        raise RunGone(run)
    if run_status.stop is None:
        StreamRunControl(server.data, run).order("stop", b"stopped")
    deadline = time.monotonic() + ROBOTS_END_S
    while any(job.state == "running" for job in poll_jobs(server.control, run, run_status.robots)):
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL_S)
    return run_status.stop is None


def stopped_line(run: str, is_ours: bool, is_removed: bool = False) -> str:
    """What became of it, for people. `is_ours`: this order was the first."""
    return f"run {run}: {'stopped' if is_ours else 'was stopped before'}{' and removed' * is_removed}"
