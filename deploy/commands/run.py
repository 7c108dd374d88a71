"""`robots run`: a private server, a fleet, a relay, the verdict and the record, in one command."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Final, NamedTuple

from cyclopts import App

from broker.errors import Unavailable
from broker.faults.schedule import Schedule
from broker.faults.syntax import format_duration
from broker.streams.connection import Server
from broker.streams.run.probes import clock_by
from deploy.attach.context import metadata_of
from deploy.commands.help import table
from deploy.commands.output import deliver, json_line, print_result, report, width_of
from deploy.commands.trace_lines import leave_and_print_traces
from deploy.config.experiment import Experiment, prepare
from deploy.config.flags import Given, takes
from deploy.config.host import demand_linux, demand_records
from deploy.config.settings import LabSettings
from deploy.errors import INTERRUPTED, EnvironmentFailure
from deploy.lifecycle.live_run import FOLLOWER, Host, LiveRun, Outcome, Tracing
from deploy.lifecycle.recording import close_record, open_record, record_counters, run_settings, written_secret
from deploy.lifecycle.tracing import named_endpoint
from deploy.observing.diagnosis import stall_watch
from deploy.observing.handler_process import HandlerProcess
from deploy.observing.held_back import HeldBackLine
from deploy.observing.results import result_lines
from deploy.processes.enter_key import EnterKey
from deploy.processes.janitor import Janitor
from deploy.processes.server import server_for
from deploy.processes.signals import ShutdownSignals
from deploy.version import version
from deploy.watching.lent_terminal import RunTerminal
from deploy.watching.terminal import choose_ui, seen_terminal
from robots.exhibits.catalogue import EXHIBITS
from telemetry.handlers.counters import Counters
from telemetry.handlers.external import HandlerCounts, report_lines
from telemetry.handlers.recorder import Recorder
from telemetry.otlp.endpoint import Endpoint
from telemetry.pipeline import Pipeline
from telemetry.plain.progress import Progress
from telemetry.plain.verdict import labelled
from telemetry.record.folder import Record, new_run_id
from telemetry.record.settings import RunSettings, ended_as
from telemetry.view import View

EXAMPLES: Final = """\
Examples:

  robots run
  robots run -n 12 --loss .4 --seed 7
  robots run --secret-file letter.txt --copies 2 --json
  robots run --fault "partition hold r00..r02|r03..r05 @1s+2s"
  robots run --chaos "kill robot every 500ms" --for 20s
  robots run --preset storm --relays 2 --for 60s
  robots run --exhibit no-kills
  robots run --hold --pace 10x
  robots run --again 7f3a
"""


_EXHIBITS: Final = table("Exhibits", ((name, exhibit.help) for name, exhibit in EXHIBITS.items()))

app = App(name="run", help_epilogue=f"{EXAMPLES}\n{_EXHIBITS}")


@app.default
@takes(LabSettings)
def run(*, given: Given) -> int:
    """Run the lab on this host, and judge it."""
    experiment, endpoint = prepare(given, "run"), named_endpoint()
    demand_linux()
    demand_records(experiment.settings.runs_dir)
    names = experiment.settings.handlers
    ui = choose_ui(experiment.settings.ui, seen_terminal(os.environ), is_json=experiment.settings.json_)
    with ShutdownSignals() as shutdown, RunTerminal(ui, shutdown, report) as terminal:
        janitor = Janitor.hire()
        try:
            with (
                HandlerProcess(names, janitor) if names else nullcontext() as handlers,
                server_for(experiment.settings.address, janitor) as server,
            ):
                is_used = experiment.settings.hold and ui != "none"
                enter = EnterKey(is_used, lambda: terminal.is_free)
                host = Host(server, janitor, shutdown, enter)
                return _run(experiment, host, Output(terminal, handlers, endpoint))
        except Unavailable as error:
            raise EnvironmentFailure(f"the server went away: {error}") from None
        finally:
            janitor.dismiss()


class Output(NamedTuple):
    """Where the events of a run go beside its record, and its lines."""

    terminal: RunTerminal
    handlers: HandlerProcess | None
    endpoint: Endpoint | None


def _run(experiment: Experiment, host: Host, output: Output) -> int:
    terminal, handlers, endpoint = output
    settings = experiment.settings
    run_id = new_run_id(settings.runs_dir)
    record = Record.create(settings.runs_dir, run_id)
    begun = run_settings(run_id, "run", version(), experiment)
    dealt = experiment.deal.record()
    open_record(record, begun, dealt)
    terminal.lend(record.folder, _screen_flags(settings))
    with Server.at(host.server.address) as server:
        clock = clock_by(server.data, run_id)
    stalls = stall_watch(dealt["indices"], experiment.terms.tick_us)
    held_back = HeldBackLine(terminal.progress, "press Enter, or: " * host.enter.is_there + f"robots go {run_id}")
    counters = Counters()
    for line in _opening_lines(run_id, experiment):
        terminal.progress(line)
    events = record.folder / "events.jsonl"
    if handlers is not None:
        handlers.follow(events)
    with Recorder(events) as recorder, closing(Progress(terminal.progress, stalls)) as progress:

        def observe(view: View, away_s: float) -> None:
            recorder.flush()
            progress.observe(view, clock.wall_us(), away_s)
            held_back.observe(view)
            terminal.poll()

        pipeline = Pipeline(counters, recorder, progress)
        metadata = metadata_of(begun, dealt)
        tracing = None if endpoint is None else Tracing(endpoint, _log_of_follower(settings, record))
        outcome = LiveRun(run_id, experiment, metadata, host, record, pipeline, observe, tracing).run()
    recorded = sum(counters.counts.values())
    handled = HandlerCounts() if handlers is None else handlers.end(recorded)
    for line in report_lines(handled, recorded):
        report(line)
    record_counters(record, counters, pipeline.failures, handled)
    code = _close(settings, record, begun, outcome, endpoint, terminal.shows_result)
    terminal.await_left()
    return code


def _screen_flags(settings: LabSettings) -> list[str]:
    """The flags by which the screens are opened as a run wants them."""
    return ["--hz", str(settings.hz), *(["--ascii"] if settings.ascii else [])]


def _opening_lines(run: str, experiment: Experiment) -> Iterable[str]:
    """What is known before anything happens."""
    settings, for_us = experiment.settings, experiment.bounds.for_us
    pace = f"  pace {settings.pace}x" * (settings.pace > 1)
    parts = len(experiment.deal.parts)
    yield f"run {run}  robots {settings.robots}  parts {parts}  seed {settings.seed}  {_network(settings)}{pace}"
    settled_us = Schedule(experiment.plan, for_us).settled_us
    if settled_us > for_us:
        yield f"goes on until {format_duration(settled_us)} after go at least: its plan is that long"


def _log_of_follower(settings: LabSettings, record: Record) -> Path | None:
    """None: its lines are progress."""
    return record.folder / "logs" / f"{FOLLOWER}.log" if settings.ui == "none" else None


def _network(settings: LabSettings) -> str:
    """Where the fault plan comes from."""
    if settings.again is not None:
        return f"plan of run {settings.again}"
    return f"preset {settings.preset}" if settings.faults is None else f"plan {settings.faults}"


def _close(
    settings: LabSettings,
    record: Record,
    begun: RunSettings,
    outcome: Outcome,
    endpoint: Endpoint | None,
    is_on_terminal: bool,
) -> int:
    """Complete the record, judge it, and show the result."""
    born_s = None if outcome.born_us is None else outcome.born_us / 1e6
    ended = ended_as(begun, outcome.ended, born_s, outcome.total_us / 1e6)
    result = close_record(record, ended, outcome.evidence)
    if settings.json_:
        print_result(json_line(result.json))
    else:
        lines = result_lines(result.json, record.folder, is_verbose=settings.verbose, width=width_of(sys.stdout))
        print_result("\n".join(lines))
    try:
        deliver(written_secret(outcome.evidence), settings.output)
    except EnvironmentFailure as error:
        if outcome.ended != "interrupted":
            raise
        report(f"robots: {error}")  # the interrupt decides the exit code
    leave_and_print_traces(
        record.folder, ended, endpoint, settings.jaeger_url, is_json=settings.json_, is_followed=True
    )
    if not settings.json_ and is_on_terminal:
        print_result("\n".join(_next_lines(settings, record.folder.name)))
    return INTERRUPTED if outcome.ended == "interrupted" else result.exit_code


def _next_lines(settings: LabSettings, run: str) -> Iterable[str]:
    """Commands to try after this run."""
    stem = f"robots run -n {settings.robots} --seed {settings.seed}"
    harder = f"{stem} --loss .5" if settings.loss is None else f"{stem} --loss .2 --duplicate .5"
    yield labelled("next", f"robots verify {run} --verbose")
    yield labelled("next", harder)
