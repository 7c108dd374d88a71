"""`robots simulate`: the whole lab in virtual time, in this process."""

from __future__ import annotations

import time
from typing import Final

from deploy.commands.output import deliver, show, tell
from deploy.config.experiment import prepare
from deploy.config.host import demand_records, version
from deploy.config.settings import INTERRUPTED, Delivery, Experiment, given
from deploy.lifecycle.recording import close_record, json_line, open_record, settings_row
from deploy.processes.signals import Endings
from robots.simulation.simulate import Look, digest_of
from robots.simulation.simulate import simulate as run_simulation
from telemetry.console import progress_line, verdict_lines
from telemetry.handlers.recorder import Recorder
from telemetry.pipeline import Pipeline
from telemetry.record.folder import Record, new_run_id
from telemetry.view import View

EXAMPLES: Final = """\
Examples:

  robots simulate --seed 7
  robots simulate -n 100 --loss .3 --json
  robots simulate --preset split --seed 7
  robots simulate -n 12 --for 20s --chaos "kill robot every 500ms" --restart redis@6s
  robots simulate --again 7f3a
"""


def simulate(*, experiment: Experiment = Experiment(), delivery: Delivery = Delivery()) -> int:  # noqa: B008  (frozen)
    """Run the same robots in virtual time: one seed, one history, bit for bit."""
    prepared = prepare(given(experiment, delivery))
    settings = prepared.settings
    demand_records(settings.runs_dir)
    run = new_run_id(settings.runs_dir)
    with Endings() as endings:
        look = _progress(endings)
        outcome = run_simulation(run, prepared.deal, prepared.terms, prepared.plan, prepared.bounds, look)
    record = Record.create(settings.runs_dir, run)
    row = settings_row(run, "simulate", version(), prepared)
    row["ended"] = outcome.ended
    row["seconds"] = {"born": outcome.born_us / 1e6, "total": outcome.total_us / 1e6}
    open_record(record, row, prepared.deal.record())
    with Recorder(record.folder / "events.jsonl") as recorder:
        pipeline = Pipeline(recorder)
        for stamped in outcome.events:
            pipeline(stamped)
    result = close_record(record, row, outcome.evidence)
    digest = digest_of(outcome)
    if settings.json_:
        show(json_line({**result.json, "digest": digest}))
    else:
        show("\n".join([*verdict_lines(result.json), f"  digest {digest}"]))
    deliver(settings, outcome.evidence)
    return INTERRUPTED if outcome.ended == "interrupted" else result.exit_code


def _progress(endings: Endings) -> Look:
    """Tells on stderr where a long simulation stands, at most once a second, and passes on a wish to end."""
    told = time.monotonic()

    def look(view: View, now_us: int) -> str | None:
        nonlocal told
        if time.monotonic() - told >= 1:
            told = time.monotonic()
            tell(progress_line(view, now_us / 1e6))
        return endings.reason

    return look
