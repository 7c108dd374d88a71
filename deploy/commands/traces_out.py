"""`robots traces export`, `push` and `follow`: a run's traces into files, or to a collector, also while it goes on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from broker.errors import Unavailable
from deploy.attach.discovery import RunLocation, find_live
from deploy.commands.output import print_result, report
from deploy.commands.outputs import answer_line
from deploy.commands.service import AnyRun, Run, await_live, pause, reached
from deploy.commands.trace_outputs import ExportedTraces, FollowedTraces, PushedTraces
from deploy.config.flags import Given, takes
from deploy.config.settings import FollowSettings, PlaceSettings, TraceSettings, load_model, load_place
from deploy.errors import ENVIRONMENT, INTERRUPTED, EnvironmentFailure, NoMetadata, UsageError
from deploy.lifecycle.recording import shown_folder
from deploy.lifecycle.tracing import RUN_TRACE_S, jaeger_lines, named_endpoint
from deploy.observing.follower import follow as follow_run
from deploy.observing.outgoing import Exported, push_run, push_traces, write_traces
from deploy.observing.source import ObservedRun, observe_run
from deploy.processes.liveness import keep_heartbeat
from deploy.processes.signals import ShutdownSignals
from telemetry.otlp.delivered import FOLDER, Delivered
from telemetry.otlp.endpoint import BadEndpoint, Endpoint
from telemetry.record.folder import NoSuchRun

EXAMPLES: Final = """\
Examples:

  robots traces export latest -o traces
  robots traces export 7f3a --all
  OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 robots traces push 7f3a
  OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 robots traces follow
"""

VERDICT_S: Final = 10.0  # for the parent of a run that is over to judge it
RECORD_S: Final = 60.0  # for `robots verify --wait` to close, record and judge a run without a parent
_POLL_S: Final = 0.1

All = Annotated[bool, Parameter(name="--all", help="Every exchange, and not a thousand at most.")]

export_app = App(name="export", help_epilogue=EXAMPLES)
push_app = App(name="push", help_epilogue=EXAMPLES)
follow_app = App(name="follow", help_epilogue=EXAMPLES)


@export_app.default
@takes(PlaceSettings)
def export(
    run: AnyRun = None,
    /,
    *,
    is_all: All = False,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="A folder. [default: traces/ in the run's record]")
    ] = None,
    given: Given,
) -> int:
    """Write a run's traces into files that Jaeger's upload takes: run.jsonl and exchanges.jsonl."""
    place = load_place(given)
    observed = observe_run(place, run)
    folder = output or _folder_of(observed)
    try:
        exported = write_traces(observed, folder, is_all)
    except OSError as error:
        raise EnvironmentFailure(f"{folder}: {error.strerror or error}") from None
    if place.json_:
        written = ExportedTraces(
            observed.history.settings.run, exported.exchanges, exported.total, shown_folder(folder.resolve())
        )
        print_result(answer_line(written))
    else:
        print_result(f"{_share(exported)} in {shown_folder(folder.resolve())}")
    return 0


@push_app.default
@takes(TraceSettings)
def push(run: AnyRun = None, /, *, is_all: All = False, given: Given) -> int:
    """Send a run's traces to the collector of OTEL_EXPORTER_OTLP_ENDPOINT."""
    settings, endpoint = load_model(TraceSettings, given), _demanded_endpoint()
    observed = observe_run(settings, run)
    try:
        exported = push_traces(observed, endpoint, report, is_all)
    except BadEndpoint as error:
        raise UsageError(str(error)) from None
    delivered = exported.delivered or Delivered()
    if settings.json_:
        counts = (delivered.accepted, delivered.dropped, delivered.trouble)
        pushed = PushedTraces(observed.history.settings.run, exported.exchanges, exported.total, *counts)
        print_result(answer_line(pushed))
    else:
        print_result("\n".join([_share(exported), delivered.line(endpoint.shown)]))
        _print_link(observed.history.settings.run, endpoint, settings.jaeger_url)
    return ENVIRONMENT if delivered.dropped else 0


@follow_app.default
@takes(FollowSettings)
def follow(
    run: Run = None,
    /,
    *,
    wait: Annotated[
        bool, Parameter(help="Wait for the next run, if none is live, and at its end for its record in --runs-dir.")
    ] = False,
    given: Given,
) -> int:
    """Send the traces of a run that goes on to the collector of OTEL_EXPORTER_OTLP_ENDPOINT, until the run is over."""
    settings, endpoint = load_model(FollowSettings, given), _demanded_endpoint()
    keep_heartbeat(settings.heartbeats, "follow")
    with ShutdownSignals() as shutdown:
        where = await_live(settings, run, shutdown) if wait else find_live(settings.runs_dir, run, settings.address)
        if where is None:
            return INTERRUPTED
        record = where.folder
        if wait and record is None:
            record = settings.runs_dir / where.run
        return _follow(where, settings, endpoint, shutdown, record)


def _follow(
    where: RunLocation, settings: FollowSettings, endpoint: Endpoint, shutdown: ShutdownSignals, record: Path | None
) -> int:
    with reached(where.address) as server:
        try:
            delivered = follow_run(server.data, where.run, endpoint, shutdown, report)
            delivered += _own_trace(where, record, endpoint, shutdown)
        except NoMetadata as error:
            raise NoSuchRun(str(error)) from None
        except BadEndpoint as error:
            raise UsageError(str(error)) from None
        except Unavailable as error:
            raise EnvironmentFailure(f"the server of run {where.run} went away: {error}") from None
        is_interrupted = shutdown.reason is not None
    if settings.json_:
        print_result(answer_line(_followed(where.run, delivered)))
    else:
        print_result(delivered.line(endpoint.shown))
        _print_link(where.run, endpoint, settings.jaeger_url)
    if is_interrupted:
        return INTERRUPTED
    return ENVIRONMENT if delivered.dropped else 0


def _followed(run: str, delivered: Delivered) -> FollowedTraces:
    return FollowedTraces(run, delivered.accepted, delivered.dropped, delivered.trouble, delivered.missed)


def _own_trace(where: RunLocation, record: Path | None, endpoint: Endpoint, shutdown: ShutdownSignals) -> Delivered:
    """Deliver the run's own trace, once the run is judged: by its parent on this host, or by `robots verify --wait`,
    which has more to wait for. `record` is the folder where its record is to be, if that is known here. Raises
    BadEndpoint, NoSuchRun."""
    deadline = time.monotonic() + (VERDICT_S if where.parent is not None else RECORD_S)
    while record is not None and shutdown.reason is None and time.monotonic() < deadline:
        if (record / "verdict.json").exists():
            return push_run(record, endpoint, report, RUN_TRACE_S)
        pause(shutdown, _POLL_S)
    report(f"traces: the run's own waits for its verdict; then: robots traces push {where.run}")
    return Delivered()


def _demanded_endpoint() -> Endpoint:
    endpoint = named_endpoint()
    if endpoint is None:
        raise UsageError("OTEL_EXPORTER_OTLP_ENDPOINT: no collector is named; set it to one like http://127.0.0.1:4318")
    return endpoint


def _folder_of(observed: ObservedRun) -> Path:
    if observed.folder is None:
        raise UsageError("--output: the run has no record on this host; name a folder for its traces")
    return observed.folder / FOLDER


def _share(exported: Exported) -> str:
    if exported.is_all:
        return f"traces: all {exported.total} exchanges and the run's own"
    chosen = "all that failed, the slowest, those that taught, and an even share of the rest"
    return f"traces: {exported.share} ({chosen}) and the run's own; --all takes all"


def _print_link(run: str, endpoint: Endpoint, jaeger_url: str | None) -> None:
    for line in jaeger_lines(run, endpoint, jaeger_url):
        print_result(line)
