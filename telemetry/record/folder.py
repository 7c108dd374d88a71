"""The record: one folder per run, from which the verdict is judged, and nothing else.

Here is how a record is written, sealed and found. What stands in it: telemetry/record/RECORD.md, which is made of the
types of its files (telemetry/schema).
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]

EVIDENCE = (
    *("settings.json", "deal.json", "plan.jsonl", "fates.jsonl", "journals.jsonl", "register.json", "streams.json"),
    *("fleet.jsonl", "events.jsonl", "secret.txt"),
)
"""The files that a manifest names, where they are there."""


_SIGNS = (*EVIDENCE, "manifest.json", "verdict.json", "live.json", "counters.json")


class NoSuchRun(Exception):
    """No record has that name or prefix, or more than one has."""


class Record:
    """One run's folder, for writing. `place` is where it will stand in the end, if that is elsewhere."""

    def __init__(self, folder: Path, place: Path | None = None) -> None:
        self.folder = folder
        self.place = place or folder

    @classmethod
    def create(cls, runs: Path, run: str) -> Record:
        """Make `runs/<run>` and point `runs/latest` at it. Raises FileExistsError if the run is there already."""
        folder = runs / run
        folder.mkdir(parents=True)
        _point_latest(runs, run)
        return cls(folder)

    @classmethod
    @contextmanager
    def draft(cls, runs: Path, run: str) -> Iterator[Record]:
        """A record that cannot be found before it is complete: at the end of the block it is moved into its place, and
        is then like one made by `create`. An error in the block leaves nothing; a process that is killed leaves a
        hidden folder, which does no harm. Raises FileExistsError when there is such a run by then."""
        record = cls(runs / f".{run}-{secrets.token_hex(4)}", runs / run)
        record.folder.mkdir(parents=True)
        try:
            yield record
            record._settle()
        except BaseException:
            shutil.rmtree(record.folder, ignore_errors=True)
            raise
        _point_latest(runs, run)

    def _settle(self) -> None:
        try:
            self.folder.rename(self.place)
        except OSError:
            if not self.place.exists():
                raise
            raise FileExistsError(f"{self.place} exists") from None

    def write(self, name: str, value: Any) -> None:
        """Put `value` into `<name>.json`, whole or not at all."""
        self._replace(f"{name}.json", (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode())

    def write_rows(self, name: str, rows: Iterable[Row]) -> None:
        """Put `rows` into `<name>.jsonl`, one a line."""
        with (self.folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")))
                file.write("\n")

    def write_bytes(self, name: str, content: bytes) -> None:
        """Put `content` into the file `name`, whole or not at all."""
        self._replace(name, content)

    def seal(self) -> None:
        """Put the manifest of the evidence as it stands now. To be called when all of it is there."""
        files = [self.folder / name for name in EVIDENCE]
        self.write("manifest", {file.name: _sha256(file) for file in files if file.is_file()})

    def _replace(self, name: str, content: bytes) -> None:
        draft = self.folder / f".{name}.draft"
        draft.write_bytes(content)
        draft.replace(self.folder / name)


def _point_latest(runs: Path, run: str) -> None:
    latest, pointer = runs / "latest", runs / f".latest-{run}"
    pointer.symlink_to(run)
    if latest.is_symlink() or not latest.exists():
        pointer.replace(latest)
    else:
        pointer.unlink()  # a file of the user's stands there: leave it


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def new_run_id(runs: Path) -> str:
    """Six hex digits that are not the name of a folder in `runs` yet."""
    while True:
        run = secrets.token_hex(3)
        if not (runs / run).exists():
            return run


def find_run(runs: Path, name: str) -> Path:
    """The folder that `name` means: a run's id, its unique prefix, a folder (with a `/` in it), or `latest`.

    A folder without any file of a record is refused; whether the files are whole is not checked. Raises NoSuchRun.
    """
    if os.sep in name or name in (".", ".."):
        if not Path(name).is_dir():
            raise NoSuchRun(f"there is no folder {name}")
        return _demand_record(Path(name), name)
    if runs.exists() and not runs.is_dir():
        raise NoSuchRun(f"{runs} is no folder, so no run is recorded in it")
    if name and (runs / name).is_dir():
        return _demand_record(runs / name, name)
    if name == "latest":
        raise NoSuchRun(f"no run is recorded in {runs}/ yet")
    recorded = sorted(runs.iterdir()) if runs.is_dir() else []
    found = [path for path in recorded if path.name.startswith(name) and path.is_dir() and not path.is_symlink()]
    if len(found) == 1:
        return found[0].resolve()
    if found:
        raise NoSuchRun(f"{name!r} means {len(found)} runs: {', '.join(path.name for path in found)}")
    raise NoSuchRun(f"no run {name!r} is recorded in {runs}/; a folder elsewhere is named with a / in it")


def _demand_record(folder: Path, name: str) -> Path:
    if not any((folder / file).exists() for file in _SIGNS):
        raise NoSuchRun(f"there is no record in {name}: no {_SIGNS[0]}, nor any other file of a run")
    return folder.resolve()
