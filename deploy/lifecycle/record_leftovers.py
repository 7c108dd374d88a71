"""What killed processes have left among the records: drafts that were never moved into their place, and a `live.json`
whose parent is dead. A record itself is never touched, however little of it there is.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from deploy.attach.discovery import LIVE, is_stale
from deploy.processes.leftovers import newest_change_s

DRAFT_S: Final = 600.0
"""A draft that was changed since is left alone: a process may be writing it."""

_DRAFT: Final = re.compile(r"\.[A-Za-z0-9_-]+-[0-9a-f]{8}|\.latest-[A-Za-z0-9_-]+")  # telemetry/record/folder.py
_FILE_DRAFT: Final = re.compile(r"\..+\.draft")


def prune_records(runs: Path) -> list[Path]:
    """Remove it; what was removed."""
    return [path for path in _left_in(runs) if _remove(path)]


def _left_in(runs: Path) -> Iterator[Path]:
    if not runs.is_dir():
        return
    for path in sorted(runs.iterdir()):
        if _DRAFT.fullmatch(path.name):
            if _is_old(path):
                yield path
        elif path.is_dir() and not path.is_symlink():
            yield from _left_in_record(path)


def _left_in_record(folder: Path) -> Iterator[Path]:
    try:
        paths = sorted(folder.iterdir())
    except OSError:  # of another user
        return
    for path in paths:
        if (_FILE_DRAFT.fullmatch(path.name) and _is_old(path)) or (path.name == LIVE and is_stale(path)):
            yield path


def _is_old(path: Path) -> bool:
    try:
        changed_s = newest_change_s(path) if path.is_dir() and not path.is_symlink() else path.lstat().st_mtime
    except OSError:
        return False
    return time.time() - changed_s >= DRAFT_S


def _remove(path: Path) -> bool:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError:  # of another user; or it is gone
        return False
    return True
