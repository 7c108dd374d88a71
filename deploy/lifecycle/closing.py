"""The end of a run that has no parent: what is done after the order to stop, and the record that is made of what its
server holds.

Everything here may be done by several, and again: whoever comes later finds it done.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import redis

from broker.control_entries import PlanChange
from broker.errors import RunGone, Unavailable
from broker.ports.run import Evidence, StreamCount
from broker.relay.core import parse_id
from broker.streams.keys import Keys
from broker.streams.retry import RETRY_S, retry_blocking
from broker.streams.run.control import StreamRunControl
from broker.streams.run.evidence import StreamEvidenceReader
from broker.streams.run.supervisor_lease import SupervisorLease
from deploy.attach.events import RunEvents
from deploy.fleet.relay_main import drain
from deploy.lifecycle.recording import close_record, open_record, shown_folder
from deploy.rq.queue import poll_jobs, withdraw_robot
from robots.run.stop_rule import reason_in
from telemetry.console import printable
from telemetry.handlers.counters import Counters
from telemetry.handlers.recorder import Recorder
from telemetry.pipeline import Pipeline
from telemetry.record.folder import Record
from telemetry.verdict.case import load
from telemetry.verdict.judge import Result, judge

ROBOTS_END_S: Final = 3.0  # for robots to end their lives, after the order to stop
"""Longer than that nobody is waited for: who was stopped or cut off is told by the evidence."""

CLOSING_US: Final = 60_000_000  # for which a run is closed, recorded and removed by one
SUCCEED_S: Final = 20.0  # for a supervisor to close the run
DRAIN_S: Final = 15.0  # for relays to let their shards go
HEAR_S: Final = 0.6  # for all who serve a run to look at its orders: a relay does it every 0.25 s
_PAUSE_S: Final = 0.05


def close(
    client: redis.Redis, url: str, run: str, seed: int, is_wanted: Callable[[], bool], say: Callable[[str], None]
) -> None:
    """After the order to stop, when the robots have left: heal the network, so that what is held comes free; see
    every outbox emptied; and take robots that still wait out of the queue. A relay that does not let its shard go is
    waited for as long as it is wanted, DRAIN_S at most, and `say` is told of it. Raises RunGone (somebody has recorded
    and removed it, perhaps while we were at it), Unavailable."""
    run_control, evidence = StreamRunControl(client, run), StreamEvidenceReader(client, run)
    shards, _ = evidence.shape()
    if not shards:
        raise RunGone(run)
    try:
        run_control.change(PlanChange(()))
        deadline = time.monotonic() + DRAIN_S
        held = drain(url, run, range(shards), seed, lambda: is_wanted() and time.monotonic() < deadline)
        for shard in held:
            say(f"run {run}: relay {_holder(client, run, shard)} holds shard {shard}; what is left there stays")
    except Unavailable:
        run_control.orders()  # raises RunGone when that is why
        raise
    for job in poll_jobs(client, run, evidence.robots()):
        if job.state in ("queued", "waiting"):
            retry_blocking("RQ", lambda robot=job.robot: withdraw_robot(client, run, robot))  # type: ignore[misc]


def _holder(client: redis.Redis, run: str, shard: int) -> str:
    """By its token, if it has not let go just now."""
    found: Any = retry_blocking("lease", lambda: client.get(Keys(run).lease(shard)))
    return printable(bytes(found or b"?").decode(errors="replace"))


def await_end(events: RunEvents, run_control: StreamRunControl, look: Callable[[float], bool]) -> str | None:
    """Until the order to stop was given and the robots have left, or ROBOTS_END_S later: the reason in the order. None
    when `look`, which is called several times a second and told for how many seconds the server has not answered, says
    that it is not worth waiting any longer. Raises RunGone."""
    reason, deadline, answered_s = None, float("inf"), time.monotonic()
    while reason is None or (events.view.living and time.monotonic() < deadline):
        if not look(time.monotonic() - answered_s):
            return None
        time.sleep(_PAUSE_S)
        events.read()
        try:
            stops = [reason_in(order.content) for order in run_control.orders() if order.order == "stop"]
        except Unavailable:
            continue
        answered_s = time.monotonic()
        if stops and reason is None:
            reason, deadline = stops[0], time.monotonic() + ROBOTS_END_S
    return reason


@contextmanager
def succeeding(client: redis.Redis, run: str, is_wanted: Callable[[], bool]) -> Iterator[None]:
    """After the order to stop: wait until whoever supervises has ended his work, or is known to be dead, and take his
    place for the block; not longer than SUCCEED_S, nor when it is not wanted any more. Raises RunGone."""
    lease = SupervisorLease(client, run, secrets.token_hex(8), CLOSING_US)
    deadline = time.monotonic() + SUCCEED_S
    while is_wanted() and time.monotonic() < deadline:
        with suppress(Unavailable):
            if lease.hold(None) is not None:
                break
        time.sleep(_PAUSE_S)
    try:
        yield
    finally:
        with suppress(RunGone, Unavailable):  # it runs out by itself
            lease.release()


def record_run(
    client: redis.Redis, run: str, runs: Path, metadata: tuple[dict[str, Any], dict[str, Any]], ended: str
) -> Result:
    """Make the record of a run that has ended, and judge it; when somebody else has made it by then, judge that one. A
    run that its server lost (`ended` is `lost`) is recorded with what is known of it. Raises Unavailable when not all
    can be read, and FileExistsError when a folder stands there that was never judged."""
    try:
        with Record.draft(runs, run) as record:
            return _fill(record, client, run, metadata, ended)
    except FileExistsError:
        if not is_recorded(runs, run):
            raise
    return judge(load(runs / run, shown_folder((runs / run).resolve())))


def is_stopped(client: redis.Redis, run: str) -> bool:
    """Whether the order to stop was given. Raises RunGone, Unavailable."""
    return any(order.order == "stop" for order in StreamRunControl(client, run).orders())


def is_recorded(runs: Path, run: str) -> bool:
    """Whether there is a record that is complete."""
    return (runs / run / "verdict.json").exists()


def _fill(
    record: Record, client: redis.Redis, run: str, metadata: tuple[dict[str, Any], dict[str, Any]], ended: str
) -> Result:
    settings, deal = metadata
    evidence = _nothing(settings) if ended == "lost" else StreamEvidenceReader(client, run).collect()
    open_record(record, settings, deal)
    counters = Counters()
    with Recorder(record.folder / "events.jsonl") as recorder:
        pipeline = Pipeline(counters, recorder)
        events = RunEvents(client, run, "", pipeline)
        events.read_to_end(RETRY_S)
    record.write("counters", {"events": counters.counts, "failed_handlers": pipeline.failures})
    seconds = {"born": events.view.born_s, "total": events.view.total_s}
    return close_record(record, {**settings, "ended": ended, "seconds": seconds}, evidence)


def forget_run(client: redis.Redis, run: str) -> None:
    """Remove a run that was stopped from its server, jobs and streams. Whoever serves it is given a moment to hear that
    it was stopped, so that nobody takes it for lost. Raises RunGone, Unavailable."""
    run_control = StreamRunControl(client, run)
    _let_be_heard(client, run_control)
    remove(client, run_control, run, StreamEvidenceReader(client, run).robots())


def remove(client: redis.Redis, run_control: StreamRunControl, run: str, robots: Iterable[str]) -> None:
    """Remove the jobs of `robots` and all streams that the run's `run_control` knows of, dealt whole or half. Raises
    Unavailable."""
    for robot in robots:
        retry_blocking("RQ", lambda robot=robot: withdraw_robot(client, run, robot))  # type: ignore[misc]
    run_control.forget()


def _let_be_heard(client: redis.Redis, run_control: StreamRunControl) -> None:
    """Until HEAR_S after the order to stop, by the server's clock."""
    stops = [parse_id(order.entry)[0] for order in run_control.orders() if order.order == "stop"]
    if stops:
        seconds, microseconds = retry_blocking("clock", client.time)
        age_s = int(seconds) + int(microseconds) / 1e6 - stops[0] / 1000
        time.sleep(min(max(HEAR_S - age_s, 0.0), HEAR_S))


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
