"""`robots run`: a private server, a fleet, a relay, the verdict and the record, in one command."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated, Final

from cyclopts import Parameter

from broker.ports import Unavailable
from deploy.commands.options import INTERRUPTED, SHARDS, Experiment, given
from deploy.commands.output import deliver, show, tell
from deploy.endings import Endings
from deploy.environment import Unable, demand_linux, demand_records
from deploy.filing import (
    file_evidence,
    json_line,
    judge_record,
    next_lines,
    open_record,
    settings_row,
    shown_folder,
)
from deploy.janitor import Janitor
from deploy.live_run import LiveRun, Outcome, Wishes
from deploy.server import Server, server_for
from deploy.settings import MOST_LIVE, LabSettings, load_deal, load_settings
from deploy.version import version
from robots.deal import Deal
from telemetry.handlers.counters import Counters
from telemetry.handlers.progress import Progress
from telemetry.handlers.recorder import Recorder
from telemetry.pipeline import Pipeline
from telemetry.plain import verdict_lines
from telemetry.record import Record, new_run_id
from telemetry.view import View

EXAMPLES: Final = """\
Examples:

  robots run
  robots run -n 12 --loss .4 --seed 7
  robots run --secret-file letter.txt --copies 2 --json
"""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Manner:
    """How to run and show it."""

    redis_url: Annotated[str | None, Parameter(help="Use this server: redis://, rediss:// or unix://.")] = None
    ui: Annotated[str | None, Parameter(help="auto, plain or none. [default: auto]")] = None


def run(*, experiment: Experiment = Experiment(), manner: Manner = Manner()) -> int:  # noqa: B008  (frozen values)
    """Run the lab: real RQ workers, a real server, one secret; then judge what held."""
    settings = load_settings(given(experiment, manner), most_robots=MOST_LIVE)
    deal = load_deal(settings)
    demand_linux()
    demand_records(settings.runs_dir)
    with Endings() as endings:
        janitor = Janitor.hire()
        try:
            with server_for(settings.redis_url, janitor) as server:
                return _run(settings, deal, server, janitor, endings)
        except Unavailable as error:
            raise Unable(f"the server went away: {error}") from None
        finally:
            janitor.dismiss()


def _run(settings: LabSettings, deal: Deal, server: Server, janitor: Janitor, endings: Endings) -> int:
    run_id = new_run_id(settings.runs_dir)
    record = Record.create(settings.runs_dir, run_id)
    row = settings_row(run_id, "run", version(), settings, SHARDS)
    open_record(record, row, deal)
    wishes = Wishes(run_id, deal, settings.terms(SHARDS), settings.faults, settings.bounds)
    progress = Progress((lambda _line: None) if settings.ui == "none" else tell)
    counters = Counters()
    progress.say(
        f"run {run_id}  robots {settings.robots}  parts {len(deal.parts)}"
        f"  seed {settings.seed}  preset {settings.preset}"
    )
    with Recorder(record.folder / "events.jsonl") as recorder:

        def look(view: View, elapsed_s: float) -> None:
            recorder.flush()
            progress.look(view, elapsed_s)

        pipeline = Pipeline(counters, recorder, progress)
        outcome = LiveRun(wishes, server, janitor, endings, record, pipeline, look).run()
    record.write("counters", {"events": counters.counts, "failed_handlers": pipeline.failures})
    return _close(settings, record, row, outcome)


def _close(settings: LabSettings, record: Record, row: dict[str, object], outcome: Outcome) -> int:
    """Complete the record, judge it, and show the result."""
    born_s = None if outcome.born_us is None else outcome.born_us / 1e6
    row |= {"ended": outcome.ended, "seconds": {"born": born_s, "total": outcome.total_us / 1e6}}
    record.write("settings", row)
    file_evidence(record, outcome.evidence)
    result = judge_record(record, shown_folder(record.folder.resolve()))
    if settings.json_:
        show(json_line(result.json))
    else:
        show("\n".join(verdict_lines(result.json)))
        if sys.stdout is not None and sys.stdout.isatty():
            show("\n".join(next_lines(settings, record.folder.name)))
    try:
        deliver(settings, outcome.evidence)
    except Unable as error:
        if outcome.ended != "interrupted":
            raise
        tell(f"robots: {error}")  # to have been interrupted comes first
    return INTERRUPTED if outcome.ended == "interrupted" else result.exit_code
