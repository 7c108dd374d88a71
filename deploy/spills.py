"""Where the processes of a run keep events on this host while its server is away, and who finds them when they died.

A run's parent opens a folder for them in the temporary one. Where there is none (the parent is on another host, has
ended, or there never was one) nobody would ever look for a file: then it is one without a name, that ends with its
process. How a file is written stands in telemetry/stream/spill.py.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from telemetry.stream.spill import FileSpill, frames_in

_OPENING: Final = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)

Left = Callable[[], Iterator[bytes]]
"""The batches that processes have left in files, each process's in order, who wrote last after who wrote before."""


class Keeper(Protocol):
    """Whoever removes the folder of a parent that was killed (deploy/janitor.py)."""

    def folder(self, path: Path) -> None:
        """Remove this folder, should we be killed."""
        ...


def spill_for(run: str, source: str) -> FileSpill:
    """A file (with a name that nobody has, mode 0600) for this process's events as `source`; made only when needed."""
    return FileSpill(partial(_create, run, source))


@contextmanager
def collecting(run: str, janitor: Keeper) -> Iterator[Left]:
    """Within, what the run's processes spill on this host goes into a folder, and can be read when they have ended.
    Afterwards it is gone; the janitor knows of it. Nothing is collected where no such folder can be made."""
    folder = _folder(run)
    try:
        folder.mkdir(mode=0o700)
    except OSError:
        yield lambda: iter(())
        return
    try:
        janitor.folder(folder)
        yield partial(_left_in, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _left_in(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.iterdir(), key=lambda path: path.lstat().st_mtime_ns):
        try:
            descriptor = os.open(path, _OPENING)
        except OSError:
            continue
        try:
            yield from frames_in(descriptor)
        finally:
            os.close(descriptor)


def _create(run: str, source: str) -> tuple[int, str]:
    """A descriptor, and a path. Raises OSError."""
    folder = _folder(run)
    if _is_ours_alone(folder):
        return tempfile.mkstemp(prefix=f"{_plain(source)}.", dir=folder)
    descriptor, path = tempfile.mkstemp(prefix="robots.")
    Path(path).unlink()
    return descriptor, path


def _is_ours_alone(folder: Path) -> bool:
    """Anybody may make a folder there, under any name."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077


def _folder(run: str) -> Path:
    return Path(tempfile.gettempdir()) / f"robots.{_plain(run)}"


def _plain(name: str) -> str:
    """A name without anything that means more than itself in a path."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)
