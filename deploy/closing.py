"""The end of a run that has no parent: what is done after the order to stop, and the record that is made of what its
server holds.

Everything here may be done by several, and again: whoever comes later finds it done.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import redis

from broker.plan import PlanChange
from broker.ports import Evidence, RunGone, StreamCount, Unavailable
from broker.streams.desk import StreamDesk
from broker.streams.patience import insist_blocking
from broker.streams.supervisor_lease import SupervisorLease
from deploy.filing import close_record, open_record
from deploy.relay_process import drain
from deploy.robot_queue import look, withdraw_robot
from deploy.run_events import RunEvents
from robots.ending import reason_in
from telemetry.handlers.counters import Counters
from telemetry.handlers.recorder import Recorder
from telemetry.pipeline import Pipeline
from telemetry.record import Record
from telemetry.verdict.judge import Result

LEAVE_S: Final = 3.0  # for robots to end their lives, after the order to stop
"""Longer than that nobody is waited for: who was stopped or cut off is told by the evidence."""

SUCCEED_S: Final = 20.0  # for a supervisor to close the run
_PAUSE_S: Final = 0.05


def close(client: redis.Redis, url: str, run: str, seed: int) -> None:
    """After the order to stop, when the robots have left: heal the network, so that what is held comes free; see
    every outbox emptied; and take robots that still wait out of the queue. Raises RunGone (somebody has recorded and
    removed it, perhaps while we were at it), Unavailable."""
    desk = StreamDesk(client, run)
    shards, robots = desk.shape()
    if not shards:
        raise RunGone(run)
    try:
        desk.change(PlanChange(()))
        drain(url, run, range(shards), seed)
    except Unavailable:
        desk.orders()  # raises RunGone when that is why
        raise
    for job in look(client, run, (*robots, *desk.joined())):
        if job.state in ("queued", "waiting"):
            insist_blocking("RQ", lambda robot=job.robot: withdraw_robot(client, run, robot))  # type: ignore[misc]


def await_end(events: RunEvents, desk: StreamDesk, look: Callable[[], bool]) -> str | None:
    """Until the order to stop was given and the robots have left, or LEAVE_S later: the reason in the order. None when
    `look`, which is called several times a second, says that it is not worth waiting any longer. Raises RunGone."""
    reason, deadline = None, float("inf")
    while reason is None or (events.view.living and time.monotonic() < deadline):
        if not look():
            return None
        time.sleep(_PAUSE_S)
        events.hear()
        try:
            stops = [reason_in(order.content) for order in desk.orders() if order.order == "stop"]
        except Unavailable:
            continue
        if stops and reason is None:
            reason, deadline = stops[0], time.monotonic() + LEAVE_S
    return reason


def succeed(client: redis.Redis, run: str, is_wanted: Callable[[], bool]) -> None:
    """After the order to stop: wait until whoever supervises has ended his work, or is known to be dead, and take his
    place; not longer than SUCCEED_S, nor when it is not wanted any more. Raises RunGone."""
    lease, deadline = SupervisorLease(client, run, secrets.token_hex(8)), time.monotonic() + SUCCEED_S
    while is_wanted() and time.monotonic() < deadline:
        with suppress(Unavailable):
            if lease.hold(None) is not None:
                return
        time.sleep(_PAUSE_S)


def record_run(
    client: redis.Redis, run: str, runs: Path, papers: tuple[dict[str, Any], dict[str, Any]], ended: str
) -> Result:
    """Make the record of a run that has ended, and judge it. A run that its server lost (`ended` is `lost`) is recorded
    with what is known of it. Raises Unavailable, and FileExistsError when there is a record of it already."""
    settings, deal = papers
    desk = StreamDesk(client, run)
    evidence = _nothing(settings) if ended == "lost" else desk.collect()
    record = Record.create(runs, run)
    open_record(record, settings, deal)
    counters = Counters()
    with Recorder(record.folder / "events.jsonl") as recorder:
        pipeline = Pipeline(counters, recorder)
        RunEvents(client, run, "", pipeline).hear()
    record.write("counters", {"events": counters.counts, "failed_handlers": pipeline.failures})
    return close_record(record, {**settings, "ended": ended}, evidence)


def forget_run(client: redis.Redis, run: str) -> None:
    """Remove a run from its server, jobs and streams. Whoever still takes part in it ends. Raises Unavailable."""
    desk = StreamDesk(client, run)
    for robot in (*desk.shape()[1], *desk.joined()):
        insist_blocking("RQ", lambda robot=robot: withdraw_robot(client, run, robot))  # type: ignore[misc]
    desk.forget()


def _nothing(settings: dict[str, Any]) -> Evidence:
    """The evidence of a run of which its server holds nothing any more."""
    shards = range(int(settings.get("shards", 1)))
    return Evidence(
        controls={},
        fates={},
        journals={},
        births={},
        register_exists=False,
        register=None,
        outboxes={shard: StreamCount(0, "0-0", 0) for shard in shards},
        inboxes={},
        orders=[],
        fleet=[],
    )
