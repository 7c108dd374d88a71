"""`robots metrics`: the metrics of a run, printed once or served to Prometheus. It only reads.

With a collector in the environment they are pushed there, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from broker.errors import RunGone, Unavailable
from broker.streams.connection import check_server, connect
from deploy.attach.discovery import RunLocation, find_live
from deploy.commands.output import print_result, report
from deploy.commands.outputs import answer_line
from deploy.commands.recorded_events import damage_lines, least_missed, open_events
from deploy.commands.service import await_live, pause, serve
from deploy.config.flags import Given, takes
from deploy.config.settings import PlaceSettings, ServiceSettings, load_service_settings
from deploy.errors import INTERRUPTED, EnvironmentFailure, NoMetadata, UsageError
from deploy.observing.event_tail import POLL_S, LiveEvents, RecordedEvents
from deploy.observing.run_metrics import RunMetrics, live_seed
from deploy.observing.source import locate_run
from deploy.processes.liveness import keep_heartbeat
from deploy.processes.signals import ShutdownSignals
from telemetry.events import Stamped
from telemetry.metrics.plain import shown
from telemetry.metrics.prometheus import served, text
from telemetry.metrics.push import MetricsPusher, pusher_of
from telemetry.otlp.endpoint import BadEndpoint
from telemetry.record.folder import NoSuchRun
from telemetry.record.reader import RecordReader, Unreadable

EXAMPLES: Final = """\
Examples:

  robots metrics
  robots metrics 7b08e1 --json
  robots metrics --port 9464
  robots metrics --port 9464 --wait
  robots metrics --port 9464 --stay --redis-url redis://lab.example:6379
"""

_LARGEST_PORT: Final = 65_535

app = App(name="metrics", help_epilogue=EXAMPLES)

RunOf = Annotated[
    str | None, Parameter(allow_leading_hyphen=False, help="Which run. [default: the newest live one, or latest]")
]
Port = Annotated[
    int | None,
    Parameter(help="Serve them over HTTP, until the run is over or Ctrl-C; 0 takes a free port.", show_default=False),
]
Address = Annotated[str, Parameter(name="--host", help="With --port: the address to serve at.")]
Wait = Annotated[bool, Parameter(help="Wait for the next run, if none is live.")]
Stay = Annotated[bool, Parameter(help="With --port: serve those of the next run on the server as well, and so on.")]


@app.default
@takes(ServiceSettings)
def metrics(
    run: RunOf = None,
    /,
    *,
    port: Port = None,
    host: Address = "127.0.0.1",
    wait: Wait = False,
    stay: Stay = False,
    given: Given,
) -> int:
    """Show the metrics of a run."""
    place = load_service_settings(given)
    keep_heartbeat(place.heartbeats, "metrics")
    if port is not None and not 0 <= port <= _LARGEST_PORT:
        raise UsageError(f"--port: {port} is outside of what is allowed: 0 to {_LARGEST_PORT}")
    if stay and port is None:
        raise UsageError("--stay: goes with --port")
    with ShutdownSignals() as shutdown, _collector() as pusher:

        def show(where: RunLocation | Path) -> None:
            with _observed(where) as observed:
                if port is None:
                    _print(observed.metrics, place.json_)
                else:
                    _serve(observed, host, port, shutdown, pusher)
                if pusher is not None:
                    pusher.push(observed.metrics.snapshot(), observed.metrics.resource)

        if stay:
            serve(place, run, stay, shutdown, show)
            return INTERRUPTED if shutdown.reason == "interrupted" else 0
        where = _awaited(place, run, shutdown) if wait else locate_run(place, run)
        if where is not None:
            show(where)
        is_interrupted = shutdown.reason == "interrupted" and not isinstance(where, Path)
        return INTERRUPTED if is_interrupted else 0  # a recorded run is served until Ctrl-C


class _Observed:
    """A run's metrics, and where its events come from."""

    def __init__(self, run: str, seed: int, source: LiveEvents | RecordedEvents) -> None:
        self.metrics = RunMetrics(run, seed)
        self._source = source
        self._take(source.past())

    def follow(self, shutdown: ShutdownSignals) -> Iterator[None]:
        """Fold what comes, until the run is over; a recorded run stays as it is. Ends with the signal, too."""

        def go_on(seconds: float) -> bool:
            pause(shutdown, seconds)
            return shutdown.reason is None

        if isinstance(self._source, LiveEvents):
            for events in self._source.coming(go_on):
                self._take(events)
                yield
        while isinstance(self._source, RecordedEvents) and go_on(POLL_S):
            yield

    def _take(self, events: list[Stamped]) -> None:
        self.metrics.take(events, self._source.missed)


def _print(metrics: RunMetrics, is_json: bool) -> None:
    if is_json:
        print_result(answer_line(shown(metrics.snapshot(), metrics.run)))
    else:
        print_result(text(metrics.snapshot, metrics.resource).rstrip())


def _serve(observed: _Observed, host: str, port: int, shutdown: ShutdownSignals, pusher: MetricsPusher | None) -> None:
    """Raises EnvironmentFailure."""
    metrics = observed.metrics
    with ExitStack() as stack:
        try:
            taken = stack.enter_context(served(metrics.snapshot, metrics.resource, host, port))
        except OSError as error:
            raise EnvironmentFailure(f"--port: {host}:{port}: {error.strerror or error}") from None
        report(f"run {metrics.run}: metrics at http://{f'[{host}]' if ':' in host else host}:{taken}/metrics")
        for _ in observed.follow(shutdown):
            if pusher is not None:
                pusher.push_if_due(metrics.snapshot, metrics.resource)
    if shutdown.reason is None:
        report(f"run {metrics.run} is over")


@contextmanager
def _collector() -> Iterator[MetricsPusher | None]:
    """Within, the pusher to the collector that the environment names, if it does. Raises UsageError."""
    try:
        pusher = pusher_of(os.environ, lambda line: report(f"robots: {line}"))
    except BadEndpoint as error:
        raise UsageError(str(error)) from None
    yield pusher
    if pusher is not None:
        pusher.close()


@contextmanager
def _observed(where: RunLocation | Path) -> Iterator[_Observed]:
    """Raises NoSuchRun, UnsupportedServer, EnvironmentFailure."""
    if isinstance(where, Path):
        try:
            settings = RecordReader(where).settings()
            recorded = open_events(where)
            observed = _Observed(settings.run, settings.seed, recorded)
            for line in damage_lines(where, recorded):
                report(f"robots: {line}")
            observed.metrics.take((), least_missed(where, recorded))
        except (Unreadable, OSError) as error:
            raise NoSuchRun(f"run {where.name} has no record that can be read: {error}") from None
        yield observed
        return
    with connect(where.address.data) as client:
        check_server(client)
        try:
            observed = _Observed(where.run, live_seed(client, where), LiveEvents(client, where))
        except (NoMetadata, RunGone) as error:
            raise NoSuchRun(f"run {where.run}: {error}") from None
        except Unavailable as error:
            raise EnvironmentFailure(f"the server of run {where.run} went away: {error}") from None
        yield observed


def _awaited(place: PlaceSettings, run: str | None, shutdown: ShutdownSignals) -> RunLocation | None:
    """The live run that is meant, once there is one; None when the command is interrupted before."""
    if place.address is not None:
        return await_live(place, run, shutdown)
    is_reported = False
    while shutdown.reason is None:
        with suppress(NoSuchRun):
            return find_live(place.runs_dir, run, None)
        if not is_reported:
            report(f"no run is live in {place.runs_dir}/; waiting for one")
            is_reported = True
        pause(shutdown, POLL_S)
    return None
