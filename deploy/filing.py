"""Puts a run into its record and has it judged: the same for live and simulated runs. It decides nothing."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from broker.durations import format_duration
from broker.ports import Evidence
from deploy.settings import LabSettings
from robots.deal import Deal
from robots.recording import fate_rows, journal_rows, plan_rows, register, streams
from telemetry.record import Record
from telemetry.verdict.case import load
from telemetry.verdict.judge import Result, judge

_TIMES: Final = ("tick", "quiet_period", "for_", "limit")
_TELLING: Final = ("secret", "secret_file", "copies", "preset", "loss", "duplicate", "delay", "reorder", *_TIMES)


def again(command: str, settings: LabSettings) -> str:
    """The command line that runs the same experiment again."""
    words = ["robots", command, "-n", str(settings.robots), "--seed", str(settings.seed)]
    for name in _TELLING:
        value = getattr(settings, name)
        if value is not None and value != LabSettings.model_fields[name].default:
            flag = f"--{name.rstrip('_').replace('_', '-')}"
            words += [flag, format_duration(value) if name in _TIMES else str(value)]
    return shlex.join(words)


def settings_row(run: str, command: str, version: str, settings: LabSettings, shards: int) -> dict[str, Any]:
    """`settings.json`, before the end is known."""
    return {
        "run": run,
        "version": version,
        "mode": {"run": "live", "simulate": "simulated"}[command],
        "robots": settings.robots,
        "copies": settings.copies,
        "seed": settings.seed,
        "preset": settings.preset,
        "tick_us": settings.tick,
        "quiet_period_us": settings.quiet_period,
        "for_us": settings.bounds.for_us,
        "limit_us": settings.bounds.limit_us,
        "shards": shards,
        "plan": [fault.text() for fault in settings.faults],
        "ended": None,
        "again": again(command, settings),
        "seconds": {"born": None, "total": None},
    }


def open_record(record: Record, row: Mapping[str, Any], deal: Deal) -> None:
    """What is known before the first robot is born."""
    record.write("settings", row)
    record.write("deal", deal.record())


def file_evidence(record: Record, evidence: Evidence) -> None:
    """What the server holds at the end, and the secret byte for byte if one was written."""
    record.write_rows("plan", plan_rows(evidence))
    record.write_rows("fates", fate_rows(evidence))
    record.write_rows("journals", journal_rows(evidence))
    record.write("register", register(evidence))
    record.write("streams", streams(evidence))
    if evidence.register is not None:
        record.write_bytes("secret.txt", evidence.register.secret)


def judge_record(record: Record, name: str) -> Result:
    """Seal a record that is complete, and judge it; the verdict is put there too."""
    record.seal()
    result = judge(load(record.folder, name))
    record.write("verdict", result.json)
    return result


def write_output(settings: LabSettings, evidence: Evidence) -> None:
    """The reconstructed secret, where the person wanted it."""
    if settings.output is not None and evidence.register is not None:
        settings.output.write_bytes(evidence.register.secret)


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
