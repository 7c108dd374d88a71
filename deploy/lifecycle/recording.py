"""Puts a run into its record and has it judged: the same for live and simulated runs. It decides nothing."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from broker.control_entries import PlanChange
from broker.faults.syntax import format_duration
from broker.ports.robot import Acknowledgement
from broker.ports.run import Evidence
from deploy.config.experiment import Experiment
from deploy.config.fault_options import PROCESS_FAULT_SHORTHANDS, SHORTHANDS
from deploy.config.settings import LabSettings
from robots.run.record_rows import fate_rows, fleet_rows, journal_rows, plan_rows, register, streams
from telemetry.record.folder import Record
from telemetry.verdict.case import load
from telemetry.verdict.judge import Result, judge

_TIMES: Final = ("tick", "quiet_period", "for_", "limit")
_FAULTS: Final = (*SHORTHANDS, "fault", *PROCESS_FAULT_SHORTHANDS, "chaos")
_SHOWN_SETTINGS: Final = ("secret", "secret_file", "copies", "preset", "faults", *_FAULTS, "relays", *_TIMES)


def again(run: str, command: str, experiment: Experiment) -> str:
    """The command line that runs the experiment of `run` again."""
    settings = experiment.settings
    if settings.again is not None:
        return _repeat(command, run if experiment.is_varied else settings.again, settings.runs_dir)
    words = ["robots", command, "-n", str(settings.robots), "--seed", str(settings.seed)]
    for name in _SHOWN_SETTINGS:
        value = getattr(settings, name)
        if value is not None and value != LabSettings.model_fields[name].default:
            flag = f"--{name.rstrip('_').replace('_', '-')}"
            for one in value if isinstance(value, tuple) else (value,):
                words += [flag, format_duration(one) if name in _TIMES else str(one)]
    return shlex.join(words)


def _repeat(command: str, run: str, runs: Path) -> str:
    """The command line that repeats a run from its record."""
    where = [] if runs == LabSettings.model_fields["runs_dir"].default else ["--runs-dir", str(runs)]
    return shlex.join(["robots", command, "--again", run, *where])


def settings_row(run: str, command: str, version: str, experiment: Experiment) -> dict[str, Any]:
    """`settings.json`, before the end is known."""
    settings, bounds = experiment.settings, experiment.bounds
    return {
        "run": run,
        "version": version,
        "mode": {"run": "live", "simulate": "simulated"}[command],
        "robots": settings.robots,
        "copies": settings.copies,
        "seed": settings.seed,
        "preset": settings.preset if settings.faults is None and settings.again is None else None,
        "tick_us": settings.tick,
        "quiet_period_us": settings.quiet_period,
        "for_us": bounds.for_us,
        "limit_us": bounds.limit_us,
        "shards": settings.relays,
        "plan": [planned.line.text() for planned in experiment.plan],
        "instances": [planned.instance for planned in experiment.plan],
        "ended": None,
        "again": again(run, command, experiment),
        "seconds": {"born": None, "total": None},
    }


def open_record(record: Record, settings: Mapping[str, Any], deal: Mapping[str, Any]) -> None:
    """What is known before the first robot is born."""
    record.write("settings", settings)
    record.write("deal", deal)


def _file_evidence(record: Record, evidence: Evidence) -> None:
    """What the server holds at the end, and the secret byte for byte if one was written."""
    record.write_rows("plan", plan_rows(evidence))
    record.write_rows("fates", fate_rows(evidence))
    record.write_rows("journals", journal_rows(evidence))
    record.write_rows("fleet", fleet_rows(evidence))
    record.write("register", register(evidence))
    record.write("streams", streams(evidence))
    if evidence.register is not None:
        record.write_bytes("secret.txt", evidence.register.secret)


def close_record(record: Record, row: dict[str, Any], evidence: Evidence) -> Result:
    """Complete the record of a run that has ended, seal it, and judge it; the verdict is put there too.

    `row` is `settings.json` with the end known. A plan that people changed by hand is repeated from the record alone.
    """
    if _was_changed(evidence):
        row["again"] = _repeat("run", row["run"], record.folder.parent)
    record.write("settings", row)
    _file_evidence(record, evidence)
    record.seal()
    result = judge(load(record.folder, shown_folder(record.place.resolve())))
    record.write("verdict", result.json)
    return result


def _was_changed(evidence: Evidence) -> bool:
    """Whether a person changed the plan by hand."""
    answers = [*(control for _, control in evidence.controls.get(0, ())), *evidence.fleet]
    return any(
        isinstance(answer, PlanChange | Acknowledgement) and answer.request and not answer.refusal for answer in answers
    )


def json_line(value: Mapping[str, Any]) -> str:
    """One object on one line."""
    return json.dumps(value, ensure_ascii=False)


def shown_folder(folder: Path) -> str:
    """A folder as a person would name it from here."""
    here = Path.cwd()
    return str(folder.relative_to(here)) if folder.is_relative_to(here) else str(folder)


def next_lines(settings: LabSettings, run: str) -> Iterable[str]:
    """Three experiments that suggest themselves after this one."""
    stem = f"robots run -n {settings.robots} --seed {settings.seed}"
    harder = f"{stem} --loss .5" if settings.loss is None else f"{stem} --loss .2 --duplicate .5"
    yield f"next: {harder}"
    yield f"next: robots simulate -n {settings.robots * 10} --seed {settings.seed}"
    yield f"next: robots verify {run}"
