"""Follows a run that goes on, and has the trace of each exchange delivered as soon as it is complete.

It only reads, and it may die at any time: nothing of the run depends on it. Only who follows a run loads this file,
because it brings OpenTelemetry with it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from broker.errors import Unavailable
from broker.ports.robot import Death
from broker.streams.connection import DataClient, connect
from broker.streams.run.evidence import StreamEvidenceReader
from broker.streams.run.tail import News, RunTail
from deploy.attach.context import read_metadata
from deploy.errors import NoMetadata
from deploy.processes.liveness import beat
from deploy.processes.signals import ShutdownSignals
from robots.run.record_rows import FaultTexts, control_row, fleet_row, stored_fate_rows
from telemetry.otlp.delivered import Delivered
from telemetry.otlp.delivery import TraceDelivery
from telemetry.otlp.endpoint import BadEndpoint, Endpoint
from telemetry.otlp.http_exporters import destination
from telemetry.otlp.readable import ReadableSpans, TracedRun
from telemetry.record.rows import ControlRow, DeathRow, FateRow, RedoRow
from telemetry.record.settings import RunSettings
from telemetry.stream.feed import EventFeed
from telemetry.tracing.exchanges import ExchangeFold
from telemetry.tracing.spans import Trace

POLL_S: Final = 0.05  # between two reads of the run's streams
READ_S: Final = 1.0  # at the end, to read what is left
FLUSH_S: Final = 2.0  # and then to deliver it
QUIET_S: Final = 1.5  # without news after the order to stop: the run is over
AWAY_S: Final = 10.0  # without an answer of the server: it will not come back
NICENESS: Final = 5  # the robots' work comes first

Put = Callable[[Trace], None]
Save = Callable[[Delivered], None]
Report = Callable[[str], None]


class Follower:
    """Reads the tail of a run, and puts the traces of its exchanges out. `is_cut`: it did not read to the end."""

    def __init__(self, tail: RunTail, settings: RunSettings, put: Put) -> None:
        self.is_cut = False
        self._tail = tail
        self._feed = EventFeed()
        self._fold = ExchangeFold(settings.run, settings.seed)
        self._faults = [FaultTexts() for _ in range(settings.shards)]
        self._put = put

    @property
    def missed(self) -> int:
        """Events that never came, by the gaps in their numbers."""
        return self._feed.missed

    def step(self, retry_s: float = 0.0) -> News:
        """Read what is new, and put out what is complete. Raises Unavailable."""
        news = self._tail.read(retry_s)
        self._take(news)
        for trace in self._fold.complete():
            self._put(trace)
        return news

    def finish(self, within_s: float) -> None:
        """Read to the end, as far as the server answers and for at most `within_s`, and put out the rest."""
        deadline = time.monotonic() + within_s
        with suppress(Unavailable):
            while self.step().has_more:
                if time.monotonic() >= deadline:
                    self.is_cut = True
                    break
        for trace in self._fold.finish():
            self._put(trace)

    def _take(self, news: News) -> None:
        for shard, entry, control in news.controls:
            self._faults[shard].add(entry, control)
            self._fold.control(msgspec.convert(control_row(shard, entry, control), ControlRow))
        for shard, stored in news.fates:
            for row in stored_fate_rows(shard, stored, self._faults[shard]):
                fate = msgspec.convert(row, FateRow | RedoRow)
                if isinstance(fate, FateRow):
                    self._fold.fate(fate)
        for death in news.fleet:
            if isinstance(death, Death):
                self._fold.death(msgspec.convert(fleet_row(death), DeathRow))
        for stamped in self._feed.receive(news.events):
            self._fold.event(stamped)


def follow(
    client: DataClient,
    run: str,
    endpoint: Endpoint,
    shutdown: ShutdownSignals,
    report: Report,
    save: Save = lambda _delivered: None,
) -> Delivered:
    """Follow a run until it is over, its server is gone, or the command is interrupted. `report` gets a line at the
    first trouble with the collector. `save` gets what came of it, twice: before what is left is delivered, as if the
    follower was killed then, and at the end. Raises NoMetadata, BadEndpoint, Unavailable (before anything was read),
    and what `save` raises."""
    settings, _ = read_metadata(StreamEvidenceReader(client, run), run)
    delivery = _delivery(settings, endpoint, report)
    follower = Follower(RunTail(client, run, settings.shards), settings, delivery.put)
    _follow_until_over(follower, shutdown)
    follower.finish(READ_S)

    def outcome(delivered: Delivered) -> Delivered:
        return replace(delivered, missed=follower.missed, is_cut=follower.is_cut)

    save(outcome(delivery.so_far()))
    delivered = outcome(delivery.close(FLUSH_S))
    save(delivered)
    return delivered


def _delivery(settings: RunSettings, endpoint: Endpoint, report: Report) -> TraceDelivery:
    def in_trouble(trouble: str) -> None:
        report(f"traces: nothing is accepted at {endpoint.shown} ({trouble}); the run goes on, and spans are counted")

    return TraceDelivery(destination(endpoint), ReadableSpans(TracedRun(settings.run, settings.version)), in_trouble)


def _follow_until_over(follower: Follower, shutdown: ShutdownSignals) -> None:
    is_stopped, newest_s, answered_s = False, time.monotonic(), time.monotonic()
    while shutdown.reason is None:
        beat()
        now_s = time.monotonic()
        try:
            news = follower.step()
        except Unavailable:
            if now_s - answered_s > AWAY_S:
                return
            time.sleep(POLL_S)
            continue
        answered_s = now_s
        is_stopped = is_stopped or any(order.order == "stop" for order in news.orders)
        if news.events or news.fates:
            newest_s = now_s
        if news.is_gone or (is_stopped and now_s - newest_s > QUIET_S):
            return
        if not news.has_more:
            time.sleep(POLL_S)


def follow_forked(url: str, run: str, endpoint: Endpoint, folder: Path) -> int:
    """The life of a follower that was forked with a run's fleet: until it gets SIGTERM. What it delivered is left in
    the record's `folder`. What keeps it from its work is told in one line. The exit code."""
    os.nice(NICENESS)
    with ShutdownSignals() as shutdown, connect(url) as client:
        try:
            follow(client, run, endpoint, shutdown, _print_line, lambda delivered: delivered.save(folder))
        except (BadEndpoint, NoMetadata, Unavailable, OSError) as error:
            _print_line(f"traces: nothing follows the run any more ({error}); the run goes on")
            return 1
    return 0


def _print_line(line: str) -> None:
    with suppress(OSError):  # its reader is gone
        print(line, flush=True)
