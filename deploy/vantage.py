"""From where somebody looks after a run: what is known of it, its server, its robots' jobs, and its events.

Put together once, and handed to all who share it. Nothing is done here.
"""

from __future__ import annotations

from typing import NamedTuple

import redis

from deploy.brief import Brief
from deploy.job_board import JobBoard
from deploy.run_events import RunEvents
from telemetry.pipeline import Next


class Vantage(NamedTuple):
    """Of one process that supervises, or may have to."""

    client: redis.Redis
    brief: Brief
    board: JobBoard
    events: RunEvents

    @property
    def run(self) -> str:
        """The run's id."""
        return self.brief.run


def vantage_on(client: redis.Redis, brief: Brief, source: str, sink: Next, keep: int | None = None) -> Vantage:
    """A vantage whose own events are known as told by `source`; `sink` gets all events, own and heard. With `keep`
    it is the recorder's (deploy/run_events.py)."""
    board = JobBoard(client, brief.run, brief.robots)
    return Vantage(client, brief, board, RunEvents(client, brief.run, source, sink, keep))
