"""Writes the record of a run and has it judged, the same for live and simulated runs. It decides nothing."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from msgspec import to_builtins
from msgspec.structs import replace

from broker.control_entries import PlanChange
from broker.faults.syntax import format_duration
from broker.ports.robot import GREATEST_ID, Acknowledgement
from broker.ports.run import Evidence
from deploy.config.experiment import Experiment
from deploy.config.fault_options import PROCESS_FAULT_SHORTHANDS, SHORTHANDS
from deploy.config.settings import LabSettings
from robots.run.record_rows import fate_rows, fleet_rows, journal_rows, plan_rows, register, streams
from telemetry.anomalies.thresholds import Thresholds, format_thresholds
from telemetry.handlers.counters import Counters
from telemetry.handlers.external import HandlerCounts
from telemetry.record.files import CountersFile
from telemetry.record.folder import Record
from telemetry.record.settings import RunSettings
from telemetry.verdict.case import load
from telemetry.verdict.judge import Result, judge

_TIMES: Final = ("tick", "quiet_period", "for_", "limit")
_FAULTS: Final = (*SHORTHANDS, "fault", *PROCESS_FAULT_SHORTHANDS, "chaos")
_NO_HANDLERS: Final = HandlerCounts()
_REPEATED: Final = (
    *("secret", "secret_file", "copies", "exhibit", "preset", "faults"),
    *_FAULTS,
    "relays",
    *_TIMES,
    *("pace", "anomalies"),
)


def again(run: str, command: str, experiment: Experiment) -> str:
    """The command line that repeats the experiment of `run`."""
    settings = experiment.settings
    if settings.again is not None:
        return _repeat(command, run if experiment.is_varied else settings.again, settings.runs_dir)
    words = ["robots", command, "-n", str(settings.robots), "--seed", str(settings.seed)]
    if settings.closed and command == "run":
        words.append("--closed")
    for name in _REPEATED:
        value = getattr(settings, name)
        if value is not None and _is_to_repeat(settings, name):
            flag = f"--{name.rstrip('_').replace('_', '-')}"
            for one in value if isinstance(value, tuple) else (value,):
                words += [flag, format_duration(one) if name in _TIMES else _text(one)]
    return shlex.join(words)


def _text(value: object) -> str:
    return format_thresholds(value) if isinstance(value, Thresholds) else str(value)


def _is_to_repeat(settings: LabSettings, name: str) -> bool:
    """Whether a setting belongs in the command line: it was set, or is not the default. A plan file has a preset of its
    own."""
    if name == "preset" and settings.faults is not None:
        return False
    return name in settings.model_fields_set or getattr(settings, name) != LabSettings.model_fields[name].default


def _repeat(command: str, run: str, runs: Path) -> str:
    """The command line that repeats a run from its record."""
    where = [] if runs == LabSettings.model_fields["runs_dir"].default else ["--runs-dir", str(runs)]
    return shlex.join(["robots", command, "--again", run, *where])


def run_settings(run: str, command: Literal["run", "simulate"], version: str, experiment: Experiment) -> RunSettings:
    """`settings.json` of a run that `command` starts, before the end is known."""
    settings, bounds, terms = experiment.settings, experiment.bounds, experiment.terms
    return RunSettings(
        run=run,
        version=version,
        mode="live" if command == "run" else "simulated",
        robots=settings.robots,
        copies=settings.copies,
        seed=settings.seed,
        exhibit=settings.exhibit,
        preset=settings.preset if settings.faults is None and settings.again is None else None,
        tick_us=terms.tick_us,
        quiet_period_us=terms.quiet_period_us,
        pace=settings.pace,
        for_us=bounds.for_us,
        limit_us=bounds.limit_us,
        shards=settings.relays,
        plan=tuple(planned.line.text() for planned in experiment.plan),
        instances=tuple(planned.instance for planned in experiment.plan),
        again=again(run, command, experiment),
        anomalies=settings.anomalies,
        closed=settings.closed and command == "run",
        hold=settings.hold and command == "run",
        parent=experiment.lab in ("run", "guest"),
    )


def open_record(record: Record, settings: RunSettings, deal: Mapping[str, Any]) -> None:
    """Write what is known before the first robot is born."""
    record.write("settings", to_builtins(settings))
    record.write("deal", deal)


def _file_evidence(record: Record, evidence: Evidence) -> None:
    """Write what the server holds at the end, and the secret byte for byte if one was written."""
    record.write_rows("plan", plan_rows(evidence))
    record.write_rows("fates", fate_rows(evidence))
    record.write_rows("journals", journal_rows(evidence))
    record.write_rows("fleet", fleet_rows(evidence))
    record.write("register", register(evidence))
    record.write("streams", streams(evidence))
    secret = written_secret(evidence)
    if secret is not None:
        record.write_bytes("secret.txt", secret)


def written_secret(evidence: Evidence) -> bytes | None:
    """The secret that was written, byte for byte; None when none was. Of several, the one that nothing can follow, or
    else the first."""
    last = [write.secret for write in evidence.writes if write.entry == GREATEST_ID]
    return next(iter(last or [write.secret for write in evidence.writes if write.robot in evidence.births]), None)


def close_record(record: Record, settings: RunSettings, evidence: Evidence) -> Result:
    """Complete the record of a run that has ended, seal it, and judge it; the verdict is put there too.

    `settings` hold how the run ended. A plan that a person changed during the run is repeated from the record.
    """
    if _was_changed(evidence):
        settings = replace(settings, again=_repeat("run", settings.run, record.folder.parent))
    record.write("settings", to_builtins(settings))
    _file_evidence(record, evidence)
    record.seal()
    result = judge(load(record.folder, shown_folder(record.place.resolve())))
    record.write("verdict", result.json)
    return result


def record_counters(
    record: Record, counters: Counters, failures: Mapping[str, int], handled: HandlerCounts = _NO_HANDLERS
) -> None:
    """Write `counters.json`; `handled`: what became of the events in a user's handlers."""
    failed = {name: times for name, times in {**failures, **handled.failed}.items() if times}
    record.write("counters", to_builtins(CountersFile(dict(counters.counts), failed, handled.missed)))


def _was_changed(evidence: Evidence) -> bool:
    """Whether a person changed the plan by hand."""
    answers = [*(control for _, control in evidence.controls.get(0, ())), *evidence.fleet]
    return any(
        isinstance(answer, PlanChange | Acknowledgement) and answer.request and not answer.refusal for answer in answers
    )


def shown_folder(folder: Path) -> str:
    """A folder, relative to the current one if it is below it."""
    here = Path.cwd()
    return str(folder.relative_to(here)) if folder.is_relative_to(here) else str(folder)
