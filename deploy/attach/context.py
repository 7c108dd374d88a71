"""What there is to know of a run for whoever looks after it on any host, and the papers that carry it there.

The papers are the record's own first two files, `settings.json` and `deal.json`, as they stood when the run was dealt.
No robot reads them.

From where somebody looks after a run: what is known of it, its server, its robots' jobs, and its events.

Put together once, and handed to all who share it. Nothing is done here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
import redis

from broker.errors import RunGone
from broker.faults.schedule import Timed
from broker.streams.run.control import StreamRunControl
from deploy.attach.events import RunEvents
from deploy.config.repeat import plan_at_start
from deploy.errors import NoMetadata
from deploy.rq.queue import JobTable
from robots.run.deal import Terms, decode_terms
from robots.run.stop_rule import Bounds
from telemetry.pipeline import Next
from telemetry.record.settings import RunSettings, decode_settings

_CHUNK: Final = 1 << 20  # bytes of deal.json in one paper: a server may refuse fields of many megabytes


class RunInfo(msgspec.Struct, frozen=True):
    """A run: the robots that it was dealt with, what they are told, its plan, and how long it may and must take."""

    run: str
    robots: tuple[str, ...]
    terms: Terms
    plan: list[Timed]
    bounds: Bounds


def metadata_of(settings: RunSettings, deal: Mapping[str, Any]) -> tuple[bytes, ...]:
    """The papers to deal a run with."""
    content = json.dumps(deal, separators=(",", ":")).encode()
    chunks = (content[start : start + _CHUNK] for start in range(0, len(content), _CHUNK))
    return (msgspec.json.encode(settings), *chunks)


def read_metadata(run_control: StreamRunControl, run: str) -> tuple[RunSettings, dict[str, Any]]:
    """`settings.json` and `deal.json`. Raises NoMetadata, Unavailable."""
    metadata = run_control.metadata()
    try:
        return decode_settings(metadata[0]), msgspec.json.decode(b"".join(metadata[1:]), type=dict)
    except IndexError:
        raise NoMetadata(f"run {run} has no metadata on its server") from None
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise NoMetadata(f"run {run} has metadata on its server that cannot be read here: {error}") from None


def read_terms(client: redis.Redis, run: str) -> Terms:
    """What the run's robots were told. Raises RunGone, NoMetadata, Unavailable."""
    for order in StreamRunControl(client, run).orders():
        if order.order == "dealt":
            try:
                return decode_terms(order.content)
            except (ValueError, RecursionError):  # msgspec's errors are such
                raise NoMetadata(f"run {run} was dealt by another version") from None
    raise RunGone(run)


def read_run_info(client: redis.Redis, run: str) -> RunInfo:
    """What a run's server tells of it. Raises RunGone, NoMetadata, Unavailable."""
    run_control, terms = StreamRunControl(client, run), read_terms(client, run)
    _, robots = run_control.shape()
    settings, _ = read_metadata(run_control, run)
    try:
        return RunInfo(run, robots, terms, plan_at_start(settings), Bounds(settings.for_us, settings.limit_us))
    except ValueError as error:
        raise NoMetadata(f"run {run} was dealt by another version: {error}") from None


class RunContext(NamedTuple):
    """Of one process that supervises, or may have to."""

    client: redis.Redis
    info: RunInfo
    job_table: JobTable
    events: RunEvents

    @property
    def run(self) -> str:
        """The run's id."""
        return self.info.run


def context_on(client: redis.Redis, info: RunInfo, source: str, sink: Next, keep: int | None = None) -> RunContext:
    """A vantage whose own events are known as told by `source`; `sink` gets all events, own and heard. With `keep`
    it is the recorder's (deploy/attach/events.py)."""
    job_table = JobTable(client, info.run, info.robots)
    return RunContext(client, info, job_table, RunEvents(client, info.run, source, sink, keep))
