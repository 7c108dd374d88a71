"""Events that neither the run's stream nor memory could take: a file of their process's own, and what is read of it.

A file is a row of frames, each behind its length (four bytes, the highest first). It is read by its own process, or by
whoever finds what a dead one has left. What a frame holds must never matter here, nor where files lie and whose they
are (telemetry/stream/spill.py).

Where the processes of a run keep events on this host while its server is away, and who finds them when they died.

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
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, Protocol

LIMIT: Final = 256 << 20  # bytes of a file
LONGEST: Final = 16 << 20  # bytes of a frame: more than that no server takes in one piece
_HEAD: Final = 4  # bytes of a length


class FileSpill:
    """Frames in a file, first in, first out.

    The file is made when it is needed, by `create` (which gives a descriptor to read and write by, and a path, as
    `tempfile.mkstemp` does), and removed when all that it held was taken out.
    """

    def __init__(self, create: Callable[[], tuple[int, str]], limit: int = LIMIT) -> None:
        self._create = create
        self._limit = limit
        self._file: tuple[int, str] | None = None
        self._first = self._end = 0  # where the first frame begins, and the last one ends

    def put(self, frame: bytes) -> bool:
        """Keep a frame behind all others. False: there is no room, or no file can be written."""
        piece = len(frame).to_bytes(_HEAD, "big") + frame
        if len(frame) > LONGEST or self._end + len(piece) > self._limit:
            return False
        try:
            self._file = self._file or self._create()
            _write(self._file[0], piece, self._end)
        except OSError:
            if self._end == 0:
                self._remove()
            return False
        self._end += len(piece)
        return True

    def frames(self) -> Iterator[bytes]:
        """What is kept, oldest first. A frame is forgotten when the one after it is asked for."""
        while self._file is not None:
            frame = _frame_at(self._file[0], self._first)
            if frame is not None:
                yield frame
                self._first += _HEAD + len(frame)
            if frame is None or self._first == self._end:  # None: somebody has damaged the file
                self._remove()

    def _remove(self) -> None:
        if self._file is None:
            return
        descriptor, path = self._file
        self._file, self._first, self._end = None, 0, 0
        with suppress(OSError):
            Path(path).unlink()
        os.close(descriptor)


def frames_in(descriptor: int) -> Iterator[bytes]:
    """The frames of an open file, oldest first, as far as it is whole: its process may have died while writing, and
    anybody may have written there. Never raises."""
    position = 0
    while position < LIMIT and (frame := _frame_at(descriptor, position)) is not None:
        position += _HEAD + len(frame)
        yield frame


def _frame_at(descriptor: int, position: int) -> bytes | None:
    try:
        size = int.from_bytes(os.pread(descriptor, _HEAD, position), "big")
        if not 0 < size <= LONGEST:
            return None
        frame = os.pread(descriptor, size, position + _HEAD)
    except OSError:
        return None
    return frame if len(frame) == size else None


def _write(descriptor: int, piece: bytes, position: int) -> None:
    """All of it, or nothing of it stays. Raises OSError."""
    done = 0
    try:
        while done < len(piece):
            done += os.pwrite(descriptor, piece[done:], position + done)
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, position)
        raise


_OPENING: Final = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)

Left = Callable[[], Iterator[bytes]]
"""The batches that processes have left in files, each process's in order, who wrote last after who wrote before."""


class Keeper(Protocol):
    """Whoever removes the folder of a parent that was killed (deploy/processes/janitor.py)."""

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
