"""`robots simulate`: the whole lab in virtual time, in this process."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

from cyclopts import App
from msgspec.structs import asdict

from deploy.commands.help import table
from deploy.commands.output import deliver, print_result, report, width_of
from deploy.commands.outputs import answer_line
from deploy.commands.recorded_run import load_recording
from deploy.commands.replay import show_recording
from deploy.commands.trace_lines import leave_and_print_traces
from deploy.config.experiment import Experiment, prepare
from deploy.config.flags import Given, takes
from deploy.config.host import demand_records
from deploy.config.settings import LabSettings
from deploy.errors import INTERRUPTED, SOFTWARE, UsageError
from deploy.lifecycle.recording import close_record, open_record, record_counters, run_settings, written_secret
from deploy.lifecycle.tracing import named_endpoint
from deploy.observing.diagnosis import stall_watch
from deploy.observing.results import result_lines
from deploy.processes.signals import ShutdownSignals
from deploy.version import version
from deploy.watching.leaving import Appearance
from deploy.watching.terminal import choose_ui, seen_terminal
from robots.exhibits.catalogue import EXHIBITS
from robots.simulation.simulate import Observe, digest_of
from robots.simulation.simulate import simulate as run_simulation
from robots.simulation.virtual_time import EPOCH_US
from telemetry.handlers.counters import Counters
from telemetry.handlers.external import UnknownHandler, UserHandlers, report_lines
from telemetry.handlers.recorder import Recorder
from telemetry.otlp.endpoint import Endpoint
from telemetry.pipeline import Pipeline
from telemetry.plain.progress import Progress
from telemetry.plain.verdict import labelled
from telemetry.record.folder import Record, new_run_id
from telemetry.record.settings import ended_as
from telemetry.verdict.judge import Result
from telemetry.view import View

EXAMPLES: Final = """\
Examples:

  robots simulate --seed 7
  robots simulate -n 100 --loss .3 --json
  robots simulate --preset split --seed 7
  robots simulate --for 20s --chaos "kill robot every 500ms" --restart redis@6s
  robots simulate --exhibit writes-twice --seed 7
  robots simulate -n 12 --preset split --ui tui
  robots simulate --again 7f3a
"""


_EXHIBITS: Final = table("Exhibits", ((name, exhibit.help) for name, exhibit in EXHIBITS.items()))


class SimulationResult(Result, frozen=True):
    """The result of a simulated run. `digest` covers all that happened: equal runs have equal ones."""

    digest: str


app = App(name="simulate", help_epilogue=f"{EXAMPLES}\n{_EXHIBITS}")


@app.default
@takes(LabSettings, but=("redis_url", "closed", "hold"))
def simulate(*, given: Given) -> int:
    """Run the lab in virtual time, and judge it."""
    experiment, endpoint = prepare(given, "simulation"), named_endpoint()
    settings = experiment.settings
    demand_records(settings.runs_dir)
    choose_ui(settings.ui, seen_terminal(os.environ), is_json=settings.json_)  # refused before anything is done
    try:
        handlers = UserHandlers(settings.handlers, Path.cwd(), lambda line: report(f"robots: {line}"))
    except UnknownHandler as error:
        raise UsageError(f"--handler: {error}") from None
    return _simulate(experiment, handlers, endpoint)


def _simulate(experiment: Experiment, handlers: UserHandlers, endpoint: Endpoint | None) -> int:
    settings = experiment.settings
    run = new_run_id(settings.runs_dir)
    dealt = experiment.deal.record()
    stalls = stall_watch(dealt["indices"], experiment.terms.tick_us)
    write_line = _drop if settings.ui == "none" else report
    with ShutdownSignals() as shutdown, closing(Progress(write_line, stalls)) as progress:
        observe, printing = _observing(shutdown, progress), Pipeline(progress)
        deal, terms, plan, bounds = experiment.deal, experiment.terms, experiment.plan, experiment.bounds
        outcome = run_simulation(run, deal, terms, plan, bounds, observe, printing, settings.anomalies)
    record = Record.create(settings.runs_dir, run)
    begun = run_settings(run, "simulate", version(), experiment)
    ended = ended_as(begun, outcome.ended, outcome.born_us / 1e6, outcome.total_us / 1e6)
    open_record(record, ended, dealt)
    counters = Counters()
    with Recorder(record.folder / "events.jsonl") as recorder:
        pipeline = Pipeline(counters, recorder)
        for stamped in outcome.events:
            pipeline(stamped)
    result = close_record(record, ended, outcome.evidence)
    for stamped in outcome.events:
        handlers(stamped)
    handled = handlers.close()
    for line in report_lines(handled, len(outcome.events)):
        report(line)
    record_counters(record, counters, pipeline.failures, handled)
    digest = digest_of(outcome)
    if settings.json_:
        print_result(answer_line(SimulationResult(**asdict(result), digest=digest)))
    else:
        lines = result_lines(result.json, record.folder, is_verbose=settings.verbose, width=width_of(sys.stdout))
        print_result("\n".join([*lines, labelled("digest", digest)]))
    deliver(written_secret(outcome.evidence), settings.output)
    leave_and_print_traces(record.folder, ended, endpoint, settings.jaeger_url, is_json=settings.json_)
    if settings.ui == "tui" and _replay(record.folder, settings) == SOFTWARE:
        return SOFTWARE
    return INTERRUPTED if outcome.ended == "interrupted" else result.exit_code


def _replay(folder: Path, settings: LabSettings) -> int:
    """Show the run on the screens, from its beginning: the app's exit code."""
    recording, notes = load_recording(folder)
    return show_recording(recording, notes, Appearance(settings.hz, settings.ascii))


def _observing(shutdown: ShutdownSignals, progress: Progress) -> Observe:
    """Shows the view in the simulation's own time, and passes on an interrupt."""

    def observe(view: View, now_us: int) -> str | None:
        progress.observe(view, EPOCH_US + now_us)
        return shutdown.reason

    return observe


def _drop(_line: str) -> None:
    pass
