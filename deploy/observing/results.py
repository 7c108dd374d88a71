"""A result for people, with what its record tells beside it: the secret, the robots, and why the run was not done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from telemetry.explanations.robot_figures import robot_figures
from telemetry.explanations.run_index import RunIndex
from telemetry.plain.verdict import WIDTH, Beside, verdict_lines
from telemetry.record.reader import LARGEST_EVENTS, RecordReader

Result = Mapping[str, Any]
"""As `--json` prints it."""

_MOST_SECRET: Final = 1000  # bytes that are read of it


def result_lines(result: Result, folder: Path, *, is_verbose: bool = False, width: int | None = None) -> Iterator[str]:
    """The result, by its record in `folder`; `width`: of the terminal, if it is printed on one."""
    return verdict_lines(result, _beside(result, folder), is_verbose=is_verbose, width=width or WIDTH)


def _beside(result: Result, folder: Path) -> Beside:
    """Of a long run the secret alone: `robots why` reads its events."""
    secret = _secret(folder)
    try:
        if (folder / "events.jsonl").stat().st_size > LARGEST_EVENTS:
            return Beside(secret=secret)
        index = RunIndex(RecordReader(folder).history())
        is_done = result["winner"] is not None and result["seconds"]["all_complete"] is not None
        diagnosis = () if is_done else [cause.text for cause in index.diagnosis]
        return Beside(diagnosis, secret, robot_figures(index))
    except Exception:  # a record that is damaged, in any way: the verdict tells what is wrong with it
        return Beside(secret=secret)


def _secret(folder: Path) -> bytes | None:
    """The beginning of what was written."""
    try:
        with (folder / "secret.txt").open("rb") as file:
            return file.read(_MOST_SECRET)
    except OSError:
        return None
