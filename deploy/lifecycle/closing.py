"""The end of a run without a parent: what follows the order to stop, and the record of what the run's server holds.

Several processes may do this at the same time, and again: what is done already is found done.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from broker.control_entries import PlanChange
from broker.errors import RunGone, Unavailable
from broker.relay.core import NewCore, parse_id
from broker.streams.address import Address
from broker.streams.connection import ControlClient, DataClient, Server
from broker.streams.retry import RETRY_S, retry_blocking
from broker.streams.run.control import StreamRunControl
from broker.streams.run.evidence import StreamEvidenceReader
from broker.streams.run.fleet_log import StreamFleetLog
from broker.streams.run.probes import now_us, relay_of
from broker.streams.run.supervisor_lease import GAP_US, SupervisorLease
from deploy.attach.events import RunEvents
from deploy.attach.holders import new_token
from deploy.attach.stopping import ROBOTS_END_S
from deploy.fleet.relay_main import drain
from deploy.lifecycle.recording import close_record, open_record, record_counters, shown_folder
from deploy.rq.observed import ALIVE_S
from deploy.rq.queue import poll_jobs, withdraw_robot, withdraw_workers, workers_of_parent
from robots.run.stop_rule import LOST, reason_in
from telemetry.console import printable
from telemetry.handlers.counters import Counters
from telemetry.handlers.recorder import Recorder
from telemetry.pipeline import Pipeline
from telemetry.record.folder import Record
from telemetry.record.settings import RunSettings, ended_as
from telemetry.verdict.case import load
from telemetry.verdict.judge import Result, judge

CLOSING_US: Final = 60_000_000  # the lease of one process that closes, records and removes a run
SUCCEED_S: Final = 20.0  # for a supervisor to close the run
DRAIN_S: Final = 15.0  # for relays to let their shards go
ORDERS_S: Final = 0.6  # for all processes of a run to read its orders: a relay polls them every 0.25 s
_PAUSE_S: Final = 0.05


def close(
    server: Server,
    address: Address,
    run: str,
    new_core: NewCore,
    is_wanted: Callable[[], bool],
    report: Callable[[str], None],
) -> None:
    """After the order to stop, when the robots have left: heal the network, so that held messages are released; empty
    every outbox; and withdraw robots that still wait in the queue. A relay that keeps its shard's lease is waited for
    while `is_wanted()`, DRAIN_S at most, and `report` gets a line about it. Raises RunGone (the run was recorded and
    removed, perhaps just now), Unavailable."""
    run_control, evidence = StreamRunControl(server.data, run), StreamEvidenceReader(server.data, run)
    shards, _ = evidence.shape()
    if not shards:
        raise RunGone(run)
    try:
        run_control.change(PlanChange(()))
        deadline = time.monotonic() + DRAIN_S
        held = drain(address.data, run, range(shards), new_core, lambda: is_wanted() and time.monotonic() < deadline)
        for shard in held:
            holder = printable(relay_of(server.data, run, shard, RETRY_S) or "?")  # it may have released it just now
            report(f"run {run}: relay {holder} holds shard {shard}; what is left there stays")
    except Unavailable:
        run_control.orders()  # raises RunGone when that is why
        raise
    for job in poll_jobs(server.control, run, evidence.robots()):
        if job.state in ("queued", "waiting"):
            retry_blocking("RQ", lambda robot=job.robot: withdraw_robot(server.control, run, robot))  # type: ignore[misc]


def await_end(events: RunEvents, run_control: StreamRunControl, observe: Callable[[float], bool]) -> str | None:
    """Until the order to stop was given and the robots have left, or ROBOTS_END_S later: the reason in the order.
    `observe` is called several times a second, with the seconds for which the server has not answered; None when it
    returns False. Raises RunGone."""
    reason, deadline, answered_s = None, float("inf"), time.monotonic()
    while reason is None or (events.view.living and time.monotonic() < deadline):
        if not observe(time.monotonic() - answered_s):
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
def succeeding(client: DataClient, run: str, is_wanted: Callable[[], bool]) -> Iterator[None]:
    """After the order to stop: wait until the leader has released its lease, or is dead, and hold the lease within the
    block. A leader that had died before the order has no other successor: the gap in the leadership is recorded. Waits
    at most SUCCEED_S, and only while `is_wanted()`. Raises RunGone."""
    lease = SupervisorLease(client, run, new_token(os.getpid()), CLOSING_US)
    deadline, away_us = time.monotonic() + SUCCEED_S, 0
    while is_wanted() and time.monotonic() < deadline:
        with suppress(Unavailable):
            held = lease.hold(None)
            if held is not None:
                away_us = max(away_us, held.away_us)
                _record_gap(client, run, away_us)
                break
        time.sleep(_PAUSE_S)
    try:
        yield
    finally:
        with suppress(RunGone, Unavailable):  # it runs out by itself
            lease.release()


def _record_gap(client: DataClient, run: str, away_us: int) -> None:
    """Record that the lease had not been renewed for so long, if it ran out before the order to stop. Raises RunGone,
    Unavailable."""
    stopped_us = _stopped_us(StreamRunControl(client, run))
    if stopped_us is not None and stopped_us - (now_us(client, run, RETRY_S) - away_us) > GAP_US:
        StreamFleetLog(client, run).leadership_gap(away_us)


def record_run(
    client: DataClient, run: str, runs: Path, metadata: tuple[RunSettings, dict[str, Any]], ended: str
) -> Result:
    """Make the record of a run that has ended, and judge it; when another process has made it by then, judge that one.
    A run that its server lost (`ended` is `lost`) is recorded as far as it is known. Raises Unavailable when not all
    can be read, and FileExistsError when there is a folder that was never judged."""
    try:
        with Record.draft(runs, run) as record:
            return _fill(record, client, run, metadata, ended)
    except FileExistsError:
        if not is_recorded(runs, run):
            raise
    return judge(load(runs / run, shown_folder((runs / run).resolve())))


def is_stopped(client: DataClient, run: str) -> bool:
    """Whether the order to stop was given. Raises RunGone, Unavailable."""
    return any(order.order == "stop" for order in StreamRunControl(client, run).orders())


def is_recorded(runs: Path, run: str) -> bool:
    """Whether there is a record that is complete."""
    return (runs / run / "verdict.json").exists()


def _fill(
    record: Record, client: DataClient, run: str, metadata: tuple[RunSettings, dict[str, Any]], ended: str
) -> Result:
    settings, deal = metadata
    evidence = StreamEvidenceReader(client, run).collect()
    open_record(record, settings, deal)
    counters = Counters()
    with Recorder(record.folder / "events.jsonl") as recorder:
        pipeline = Pipeline(counters, recorder)
        events = RunEvents(client, run, "", pipeline)
        events.read_to_end(RETRY_S)
    record_counters(record, counters, pipeline.failures)
    ended = LOST if events.view.has_server_forgotten else ended
    return close_record(record, ended_as(settings, ended, events.view.born_s, events.view.total_s), evidence)


def forget_run(server: Server, run: str) -> None:
    """Remove a run that was stopped from its server: jobs and streams. Its processes get ORDERS_S to read the order to
    stop, so that none takes the run for lost. Raises RunGone, Unavailable."""
    run_control = StreamRunControl(server.data, run)
    _let_orders_be_read(server.data, run, run_control)
    remove(server, run_control, run)


def remove(server: Server, run_control: StreamRunControl, run: str, robots: Iterable[str] = ()) -> None:
    """Remove all streams of the run, dealt whole or half, and what RQ keeps of its robots, of these `robots`, and of
    the RQ workers of its parent, which has ended. Raises Unavailable."""
    for robot in dict.fromkeys((*run_control.begin_removal(), *robots)):
        retry_blocking("RQ", lambda robot=robot: withdraw_robot(server.control, run, robot))  # type: ignore[misc]
    names = workers_of_parent(server.control, run)
    retry_blocking("RQ", lambda: withdraw_workers(server.control, names))
    run_control.forget()


def has_living_parent(control: ControlClient, run: str) -> bool:
    """Whether the RQ workers that a run's parent keeps are alive, on any host: RQ keeps the entries of dead ones for a
    minute, but their heartbeats come no more. Raises Unavailable."""
    before = workers_of_parent(control, run)
    deadline = time.monotonic() + ALIVE_S
    while before and time.monotonic() < deadline:
        time.sleep(_PAUSE_S)
        now = workers_of_parent(control, run)
        if any(now.get(name, beat) != beat for name, beat in before.items()):
            return True
    return False


def _let_orders_be_read(client: DataClient, run: str, run_control: StreamRunControl) -> None:
    """Until ORDERS_S after the order to stop, by the server's clock."""
    stopped_us = _stopped_us(run_control)
    if stopped_us is not None:
        age_s = (now_us(client, run, RETRY_S) - stopped_us) / 1e6
        time.sleep(min(max(ORDERS_S - age_s, 0.0), ORDERS_S))


def _stopped_us(run_control: StreamRunControl) -> int | None:
    """When the order to stop was first given, by the server's clock. Raises RunGone, Unavailable."""
    stops = [parse_id(order.entry)[0] * 1000 for order in run_control.orders() if order.order == "stop"]
    return stops[0] if stops else None
