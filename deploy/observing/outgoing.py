"""The traces of a run on their way out: into files, or to a collector. All of them, or a choice.

Only who writes or pushes traces loads this file, because it brings OpenTelemetry with it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from deploy.observing.source import ObservedRun, recorded_run
from telemetry.otlp.delivered import Delivered
from telemetry.otlp.delivery import TraceDelivery
from telemetry.otlp.endpoint import Endpoint
from telemetry.otlp.file_exporter import EXCHANGES_FILE, RUN_FILE, FileExporter
from telemetry.otlp.http_exporters import destination
from telemetry.otlp.readable import ReadableSpans, TracedRun
from telemetry.otlp.tail import Choice, all_of, choose
from telemetry.tracing.clocks import shift_us_of
from telemetry.tracing.exchanges import traces_of
from telemetry.tracing.run_trace import run_trace
from telemetry.tracing.spans import Trace

LAST_S: Final = 10.0  # for the last requests of a push to be answered

Report = Callable[[str], None]


class Exported(msgspec.Struct, frozen=True):
    """How many exchanges left, and of how many; `delivered` to a collector, if that is where they went."""

    exchanges: int
    total: int
    delivered: Delivered | None = None

    @property
    def is_all(self) -> bool:
        """Whether no exchange was left out."""
        return self.exchanges == self.total

    @property
    def share(self) -> str:
        """For people."""
        return f"{self.exchanges} of {self.total} exchanges"


def write_traces(observed: ObservedRun, folder: Path, is_all: bool = False) -> Exported:
    """Put `run.jsonl` and `exchanges.jsonl` into the folder. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    readable = _readable(observed)
    choice = _exchanges(observed, is_all)
    with FileExporter(folder / EXCHANGES_FILE) as file:
        for trace in choice.traces:
            file.export(readable.of(trace))
    with FileExporter(folder / RUN_FILE) as file:
        file.export(readable.of(_run_trace(observed)))
    return Exported(len(choice.traces), choice.total)


def write_recorded(record: Path, folder: Path) -> Exported:
    """The same for a recorded run, at most MOST exchanges. Raises NoSuchRun, OSError."""
    return write_traces(recorded_run(record), folder)


def push_traces(observed: ObservedRun, endpoint: Endpoint, report: Report, is_all: bool = False) -> Exported:
    """Have a run's traces delivered to a collector, its own one last. Raises BadEndpoint."""
    delivery = _delivery(observed, endpoint, report)
    choice = _exchanges(observed, is_all)
    for trace in choice.traces:
        delivery.put_when_there_is_room(trace)
    delivery.put_when_there_is_room(_run_trace(observed))
    return Exported(len(choice.traces), choice.total, delivery.close(LAST_S))


def push_recorded(record: Path, endpoint: Endpoint, report: Report) -> Exported:
    """The same for a recorded run, at most MOST exchanges. Raises NoSuchRun, BadEndpoint."""
    return push_traces(recorded_run(record), endpoint, report)


def push_run(record: Path, endpoint: Endpoint, report: Report, within_s: float) -> Delivered:
    """Have the own trace of a recorded run delivered, without its exchanges. Raises NoSuchRun, BadEndpoint."""
    observed = recorded_run(record)
    delivery = _delivery(observed, endpoint, report)
    delivery.put(_run_trace(observed))
    return delivery.close(within_s)


def _exchanges(observed: ObservedRun, is_all: bool) -> Choice:
    traces = traces_of(observed.history, _shift_us(observed))
    return all_of(traces) if is_all else choose(traces)


def _run_trace(observed: ObservedRun) -> Trace:
    return run_trace(observed.history, observed.verdict, _shift_us(observed))


def _shift_us(observed: ObservedRun) -> int:
    return shift_us_of(observed.history, observed.made_us)


def _readable(observed: ObservedRun) -> ReadableSpans:
    settings = observed.history.settings
    return ReadableSpans(TracedRun(settings.run, settings.version))


def _delivery(observed: ObservedRun, endpoint: Endpoint, report: Report) -> TraceDelivery:
    def in_trouble(trouble: str) -> None:
        report(f"traces: nothing is accepted at {endpoint.shown} ({trouble})")

    return TraceDelivery(destination(endpoint), _readable(observed), in_trouble)
