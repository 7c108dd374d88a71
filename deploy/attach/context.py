"""What a process that attaches to a run knows and shares: the run's metadata and info, its server, its robots' jobs and
its events.

The metadata are the record's first two files, `settings.json` and `deal.json`, as they stood when the run was dealt;
the run's server carries them to any host, and no robot reads them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from broker.errors import RunGone
from broker.faults.feasible import Lab, RunFacts
from broker.faults.schedule import Timed
from broker.relay.core import NewCore
from broker.streams.connection import DataClient, Server
from broker.streams.run.control import StreamRunControl
from broker.streams.run.evidence import StreamEvidenceReader
from deploy.attach.events import RunEvents
from deploy.config.repeat import plan_at_start
from deploy.errors import NoMetadata
from deploy.rq.queue import JobTable
from robots.exhibits.catalogue import components_of
from robots.run.deal import Terms, decode_terms
from robots.run.stop_rule import Bounds
from telemetry.anomalies.thresholds import DEFAULTS, Thresholds
from telemetry.pipeline import Next
from telemetry.record.settings import RunSettings, decode_settings

_CHUNK: Final = 1 << 20  # bytes of deal.json in one entry: a server may refuse fields of many megabytes


class RunInfo(msgspec.Struct, frozen=True):
    """A run: the robots that it was dealt with, its terms, its plan, and how long it may and must take. `holders`: the
    numbers of the robots that were dealt a part (None: not known). `lab`: who leads it from here. `thresholds`: of
    anomalies. `is_closed`: no robot may join. `is_held`: `go` waits for a person."""

    run: str
    robots: tuple[str, ...]
    terms: Terms
    plan: list[Timed]
    bounds: Bounds
    holders: frozenset[int] | None = None
    lab: Lab = "cluster"
    thresholds: Thresholds = DEFAULTS
    is_closed: bool = False
    is_held: bool = False

    def facts(self, robots: int) -> RunFacts:
        """What is known of the run when it has so many robots, those that joined included."""
        return RunFacts(robots, self.terms.shards, self.bounds.for_us, self.bounds.limit_us, self.holders, self.lab)

    @property
    def new_core(self) -> NewCore:
        """Makes the cores of the run's relays."""
        return new_core_of(self.run, self.terms)


def new_core_of(run: str, terms: Terms) -> NewCore:
    """Makes the cores of the relays of a run with these terms. Raises UnknownExhibit."""
    return partial(components_of(terms.exhibit).relay, run, terms.seed)


def metadata_of(settings: RunSettings, deal: Mapping[str, Any]) -> tuple[bytes, ...]:
    """The metadata to deal a run with."""
    content = json.dumps(deal, separators=(",", ":")).encode()
    chunks = (content[start : start + _CHUNK] for start in range(0, len(content), _CHUNK))
    return (msgspec.json.encode(settings), *chunks)


def read_metadata(evidence: StreamEvidenceReader, run: str) -> tuple[RunSettings, dict[str, Any]]:
    """`settings.json` and `deal.json`. Raises NoMetadata, Unavailable."""
    metadata = evidence.metadata()
    try:
        return decode_settings(metadata[0]), msgspec.json.decode(b"".join(metadata[1:]), type=dict)
    except IndexError:
        raise NoMetadata(f"run {run} has no metadata on its server") from None
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise NoMetadata(f"run {run} has metadata on its server that cannot be read here: {error}") from None


def read_settings(client: DataClient, run: str) -> RunSettings | None:
    """The settings that a run was dealt with, without the deal; None when they cannot be read here. Raises
    Unavailable."""
    try:
        return decode_settings(StreamEvidenceReader(client, run).first_metadata())
    except ValueError:
        return None


def read_terms(client: DataClient, run: str) -> Terms:
    """The run's terms, from the order `dealt`. Raises RunGone, NoMetadata, Unavailable."""
    for order in StreamRunControl(client, run).orders():
        if order.order == "dealt":
            try:
                terms = decode_terms(order.content)
                components_of(terms.exhibit)
                return terms
            except (ValueError, RecursionError):  # msgspec's errors are such
                raise NoMetadata(f"run {run} was dealt by another version") from None
    raise RunGone(run)


def read_run_info(client: DataClient, run: str) -> RunInfo:
    """A run's info, from its server. Raises RunGone, NoMetadata, Unavailable."""
    evidence, terms = StreamEvidenceReader(client, run), read_terms(client, run)
    _, robots = evidence.shape()
    settings, deal = read_metadata(evidence, run)
    bounds = Bounds(settings.for_us, settings.limit_us)
    try:
        plan, holders = plan_at_start(settings), _holders_in(deal)
        return RunInfo(
            run,
            robots,
            terms,
            plan,
            bounds,
            holders,
            thresholds=settings.anomalies,
            is_closed=settings.closed,
            is_held=settings.hold,
        )
    except ValueError as error:
        raise NoMetadata(f"run {run} was dealt by another version: {error}") from None


def _holders_in(deal: Mapping[str, Any]) -> frozenset[int] | None:
    """The numbers of the robots that `deal.json` names as holders; None when it cannot be read so."""
    try:
        return frozenset(int(name[1:]) for part in deal["indices"] for name in part["holders"])
    except (LookupError, TypeError, ValueError):
        return None


class RunContext(NamedTuple):
    """Of one process that supervises a run, or stands by."""

    server: Server
    info: RunInfo
    job_table: JobTable
    events: RunEvents

    @property
    def run(self) -> str:
        """The run's id."""
        return self.info.run


def context_on(server: Server, info: RunInfo, source: str, sink: Next, keep: int | None = None) -> RunContext:
    """A context whose own events are known as those of `source`; `sink` gets all events, own and read ones. With `keep`
    it is the recorder's (deploy/attach/events.py)."""
    job_table = JobTable(server.control, info.run, info.robots)
    return RunContext(server, info, job_table, RunEvents(server.data, info.run, source, sink, keep))
