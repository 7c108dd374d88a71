"""Removes from a server what runs have left behind there: runs that are over and recorded, or abandoned, and single
keys of runs that are gone. A run that goes on is never touched.

A run goes on while a supervisor or a process that closes it holds its lease, an RQ worker a robot's, or while RQ
workers of its parent beat. One that does not is removed in two cases: it was stopped and is recorded here; or nothing
has happened in it for as long as the caller says. The lease is held meanwhile, so that no process begins to lead it.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from broker.errors import RunGone
from broker.streams.connection import Server
from broker.streams.retry import RETRY_S, retry_blocking
from broker.streams.run.control import StreamRunControl
from broker.streams.run.leftovers import idle_s, is_removal_begun, keys_by_run, last_change_us, remove_keys
from broker.streams.run.probes import holds_run, now_us
from broker.streams.run.runs import StreamRuns, read_run_status
from broker.streams.run.supervisor_lease import SupervisorLease
from deploy.lifecycle.closing import CLOSING_US, has_living_parent, is_recorded, remove
from deploy.rq.leftovers import forget_dead_workers, robots_by_run
from deploy.rq.queue import poll_jobs

ORPHAN_S: Final = 60.0
"""For how long a key of a run without orders was not touched: a run that is being dealt has none yet."""


class Pruned(NamedTuple):
    """What was removed from a server: runs, each with the reason, and the names of dead RQ workers. `kept` are the runs
    that stayed."""

    runs: Mapping[str, str]
    workers: Collection[str]
    kept: Collection[str]


def prune_server(server: Server, runs: Path, older_than_us: int) -> Pruned:
    """Remove what is left on a server. `runs` is where records are. Raises Unavailable; what was not removed then is
    removed by the next call."""
    workers = forget_dead_workers(server.control)
    keys, robots = keys_by_run(server.data), robots_by_run(server.control)
    listed = retry_blocking("runs", StreamRuns(server.data).newest_first)
    removed: dict[str, str] = {}
    names = sorted({*keys, *robots, *listed})
    for run in names:
        left = _Left(server, run, keys.get(run, []), robots.get(run, set()))
        reason = left.prune(runs, older_than_us)
        if reason is not None:
            removed[run] = reason
    return Pruned(removed, workers, [run for run in names if run not in removed])


class _Left(NamedTuple):
    """What a server holds of one run."""

    server: Server
    run: str
    keys: list[bytes]
    robots: set[str]

    def prune(self, runs: Path, older_than_us: int) -> str | None:
        """Remove it, if that is safe: the reason; None when it stays."""
        if not holds_run(self.server.data, self.run):
            reason = self._reason_of_rest()
            if reason is not None:
                self._remove()
            return reason
        reason = self._reason(runs, older_than_us)
        if reason is None or self._is_run_anywhere() or has_living_parent(self.server.control, self.run):
            return None
        return reason if self._remove_under_lease() else None

    def _reason_of_rest(self) -> str | None:
        """Without orders there is no run."""
        if is_removal_begun(self.server.data, self.run):
            return "its removal was not finished"
        ages = [idle_s(self.server.data, key) for key in self.keys]
        if any(age is None or age < ORPHAN_S for age in ages):
            return None
        return "it is gone"

    def _reason(self, runs: Path, older_than_us: int) -> str | None:
        data = self.server.data
        run_status = read_run_status(data, self.run)
        is_stopped = run_status is not None and run_status.stop is not None
        if is_stopped and is_recorded(runs, self.run):
            return f"it is recorded in {runs}/"
        changed_us = last_change_us(data, self.run)
        if changed_us and now_us(data, self.run, RETRY_S) - changed_us >= older_than_us:
            return "it was stopped long ago" if is_stopped else "it was abandoned"
        return None

    def _is_run_anywhere(self) -> bool:
        jobs = poll_jobs(self.server.control, self.run, sorted(self.robots))
        return any(job.state in ("running", "taken") for job in jobs)

    def _remove_under_lease(self) -> bool:
        """False: a supervisor leads the run, or a process closes it."""
        lease = SupervisorLease(self.server.data, self.run, secrets.token_hex(8), CLOSING_US)
        try:
            if lease.hold(None) is None:
                return False
        except RunGone:
            pass  # another process was faster
        self._remove()
        return True

    def _remove(self) -> None:
        remove(self.server, StreamRunControl(self.server.data, self.run), self.run, sorted(self.robots))
        remove_keys(self.server.data, self.keys)
