"""`robots run`: a private server, a fleet, a relay, the verdict and the record, in one command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

from cyclopts import Parameter

from broker.ports import Unavailable
from deploy.commands.options import Experiment, given
from deploy.environment import Unable, demand_linux
from deploy.filing import (
    file_evidence,
    json_line,
    judge_record,
    next_lines,
    open_record,
    settings_row,
    shown_folder,
    write_output,
)
from deploy.janitor import Janitor
from deploy.live_run import LiveRun, Outcome, Wishes, server_for
from deploy.settings import MOST_LIVE, LabSettings, load_deal, load_settings
from deploy.version import version
from robots.deal import Deal
from telemetry.handlers.progress import Progress
from telemetry.handlers.recorder import Recorder
from telemetry.pipeline import Pipeline
from telemetry.plain import verdict_lines
from telemetry.record import Record, new_run_id
from telemetry.view import View

SHARDS: Final = 1
INTERRUPTED: Final = 130
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
    janitor = Janitor.hire()
    try:
        with server_for(settings.redis_url, janitor) as (url, _):
            return _run(settings, deal, url, janitor)
    except Unavailable as error:
        raise Unable(f"the server went away: {error}") from None
    finally:
        janitor.dismiss()


def _run(settings: LabSettings, deal: Deal, url: str, janitor: Janitor) -> int:
    run_id = new_run_id(settings.runs_dir)
    record = Record.create(settings.runs_dir, run_id)
    row = settings_row(run_id, "run", version(), settings, SHARDS)
    open_record(record, row, deal)
    wishes = Wishes(
        run_id, deal, settings.terms(SHARDS), settings.faults, settings.bounds, settings.redis_url is not None
    )
    progress = Progress(_say(settings))
    progress.say(
        f"run {run_id}  robots {settings.robots}  parts {len(deal.parts)}"
        f"  seed {settings.seed}  preset {settings.preset}"
    )
    with Recorder(record.folder / "events.jsonl") as recorder:

        def look(view: View, elapsed_s: float) -> None:
            recorder.flush()
            progress.look(view, elapsed_s)

        outcome = LiveRun(wishes, url, janitor, record, Pipeline(recorder, progress), look).run()
    return _close(settings, record, row, outcome)


def _close(settings: LabSettings, record: Record, row: dict[str, object], outcome: Outcome) -> int:
    """Complete the record, judge it, and show the result."""
    born_s = None if outcome.born_us is None else outcome.born_us / 1e6
    row |= {"ended": outcome.ended, "seconds": {"born": born_s, "total": outcome.total_us / 1e6}}
    record.write("settings", row)
    file_evidence(record, outcome.evidence)
    write_output(settings, outcome.evidence)
    result = judge_record(record, shown_folder(record.folder.resolve()))
    if settings.json_:
        print(json_line(result.json))
    else:
        print("\n".join(verdict_lines(result.json)))
        if sys.stdout.isatty():
            print("\n".join(next_lines(settings, record.folder.name)))
    return INTERRUPTED if outcome.ended == "interrupted" else result.exit_code


def _say(settings: LabSettings) -> Callable[[str], None]:
    """Progress goes to stderr, or nowhere."""
    if settings.ui == "none":
        return lambda _line: None
    return lambda line: print(line, file=sys.stderr, flush=True)
