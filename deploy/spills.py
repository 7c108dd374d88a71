"""Where the processes of a run leave events on this host while its server is away, and who finds them when they died.

The files lie in the temporary folder, under names that tell run and source. Only regular files of this very user are
ever read or removed. How a file is written stands in telemetry/handlers/spill.py.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from telemetry.handlers.spill import FileSpill, frames_in

_SUFFIX: Final = ".events"
_OPENING: Final = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def spill_for(run: str, source: str) -> FileSpill:
    """A file for this process's events as `source`, made (with a name that nobody has, mode 0600) only when needed.

    For processes whose run ends on this host: what they leave, `spilled` finds.
    """
    return FileSpill(partial(tempfile.mkstemp, prefix=f"{_prefix(run)}{_plain(source)}.", suffix=_SUFFIX))


def spilled(run: str) -> Iterator[bytes]:
    """The batches in all files that the run's processes have left, each process's in order, who died first before who
    died later. The files are removed. For when none of these processes lives."""
    for path in _files(run):
        descriptor = _take(path)
        if descriptor is not None:
            try:
                yield from frames_in(descriptor)
            finally:
                os.close(descriptor)


def discard_spilled(run: str) -> None:
    """Remove all files that the run's processes have left."""
    for path in _files(run):
        descriptor = _take(path)
        if descriptor is not None:
            os.close(descriptor)


def _files(run: str) -> list[Path]:
    """Those that were written to last come last."""
    try:
        found = Path(tempfile.gettempdir()).glob(f"{_prefix(run)}*{_SUFFIX}")
        return sorted(found, key=lambda path: path.lstat().st_mtime_ns)
    except OSError:  # no temporary folder, or somebody else tidies up
        return []


def _take(path: Path) -> int | None:
    """Open the file, which nobody will find any more. None when it is not ours."""
    try:
        descriptor = os.open(path, _OPENING)
    except OSError:
        return None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        os.close(descriptor)
        return None
    path.unlink(missing_ok=True)
    return descriptor


def _prefix(run: str) -> str:
    return f"robots.{_plain(run)}."


def _plain(name: str) -> str:
    """A name without dots, which separate, and without anything that means more than itself in a path."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)
