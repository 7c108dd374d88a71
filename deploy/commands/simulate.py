"""`robots simulate`: the whole lab in virtual time, in this process."""

from __future__ import annotations

import time
from typing import Final

from cyclopts import App

from deploy.commands.help import table
from deploy.commands.output import deliver, json_line, print_result, report
from deploy.config.experiment import prepare
from deploy.config.flags import Given, takes
from deploy.config.host import demand_records
from deploy.config.settings import LabSettings
from deploy.errors import INTERRUPTED
from deploy.lifecycle.recording import close_record, open_record, run_settings, written_secret
from deploy.lifecycle.tracing import let_traces_leave, named_endpoint, trace_places
from deploy.processes.signals import ShutdownSignals
from deploy.version import version
from robots.exhibits.catalogue import EXHIBITS
from robots.simulation.simulate import Observe, digest_of
from robots.simulation.simulate import simulate as run_simulation
from telemetry.console import progress_line, verdict_lines
from telemetry.handlers.recorder import Recorder
from telemetry.pipeline import Pipeline
from telemetry.record.folder import Record, new_run_id
from telemetry.record.settings import ended_as
from telemetry.view import View

EXAMPLES: Final = """\
Examples:

  robots simulate --seed 7
  robots simulate -n 100 --loss .3 --json
  robots simulate --preset split --seed 7
  robots simulate --for 20s --chaos "kill robot every 500ms" --restart redis@6s
  robots simulate --exhibit writes-twice --seed 7
  robots simulate --again 7f3a
"""


_EXHIBITS: Final = table("Exhibits", ((name, exhibit.help) for name, exhibit in EXHIBITS.items()))

app = App(name="simulate", help_epilogue=f"{EXAMPLES}\n{_EXHIBITS}")


@app.default
@takes(LabSettings, but=("redis_url", "ui"))
def simulate(*, given: Given) -> int:
    """Run the lab in virtual time, and judge it."""
    experiment, endpoint = prepare(given, "simulation"), named_endpoint()
    settings = experiment.settings
    demand_records(settings.runs_dir)
    run = new_run_id(settings.runs_dir)
    with ShutdownSignals() as shutdown:
        observe = _progress(shutdown)
        outcome = run_simulation(run, experiment.deal, experiment.terms, experiment.plan, experiment.bounds, observe)
    record = Record.create(settings.runs_dir, run)
    begun = run_settings(run, "simulate", version(), experiment)
    ended = ended_as(begun, outcome.ended, outcome.born_us / 1e6, outcome.total_us / 1e6)
    open_record(record, ended, experiment.deal.record())
    with Recorder(record.folder / "events.jsonl") as recorder:
        pipeline = Pipeline(recorder)
        for stamped in outcome.events:
            pipeline(stamped)
    result = close_record(record, ended, outcome.evidence)
    digest = digest_of(outcome)
    if settings.json_:
        print_result(json_line({**result.json, "digest": digest}))
    else:
        print_result("\n".join([*verdict_lines(result.json), f"  digest {digest}"]))
    for line in let_traces_leave(record.folder, ended, endpoint, report):
        (report if settings.json_ else print_result)(line)
    if not settings.json_:
        print_result("\n".join(trace_places(run, endpoint, settings.jaeger_url)))
    deliver(written_secret(outcome.evidence), settings.output)
    return INTERRUPTED if outcome.ended == "interrupted" else result.exit_code


def _progress(shutdown: ShutdownSignals) -> Observe:
    """Reports the progress of a long simulation at most once a second, and passes on an interrupt."""
    reported = time.monotonic()

    def observe(view: View, now_us: int) -> str | None:
        nonlocal reported
        if time.monotonic() - reported >= 1:
            reported = time.monotonic()
            report(progress_line(view, now_us / 1e6))
        return shutdown.reason

    return observe
