"""The spill: files for events that neither the run's stream nor memory can take, one a process.

A file is a sequence of frames, each after its length (four bytes, big-endian). The content of a frame plays no part
here. Its own process reads the file; after the process's death, the run's parent does. For that the parent opens a
folder in the temporary one. Where there is no such folder (the parent is on another host, has ended, or never existed),
no process would find the file: then it has no name, and ends with its process.
"""

from __future__ import annotations

import fcntl
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
LONGEST: Final = 16 << 20  # bytes of a frame: no server takes more in one piece
_HEAD: Final = 4  # bytes of a length
_OPENING: Final = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class FileSpill:
    """Frames in a file, first in, first out.

    `create` makes the file when it is needed (it returns a descriptor for reading and writing, and a path, like
    `tempfile.mkstemp`). The file is removed when it is empty.
    """

    def __init__(self, create: Callable[[], tuple[int, str]], limit: int = LIMIT) -> None:
        self._create = create
        self._limit = limit
        self._file: tuple[int, str] | None = None
        self._first = self._end = 0  # where the first frame begins, and the last one ends

    def put(self, frame: bytes) -> bool:
        """Append a frame. False: there is no room, or no file can be written."""
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
        """The kept frames, oldest first. Each is removed when the next one is requested."""
        while self._file is not None:
            frame = _frame_at(self._file[0], self._first)
            if frame is not None:
                yield frame
                self._first += _HEAD + len(frame)
            if frame is None or self._first == self._end:  # None: the file is damaged
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
    """The frames of an open file, oldest first, up to the first damage: its process may have died while writing, and
    other processes may have written there. Never raises."""
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
    """Write the whole piece, or nothing. Raises OSError."""
    done = 0
    try:
        while done < len(piece):
            done += os.pwrite(descriptor, piece[done:], position + done)
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, position)
        raise


SpilledBatches = Callable[[], Iterator[bytes]]
"""Reads the batches in all files of a folder: of each process in order, files by their last write."""


class FolderJanitor(Protocol):
    """Removes the folder of a parent that was killed (deploy/processes/janitor.py)."""

    def folder(self, path: Path) -> None:
        """Remove this folder if this process is killed."""
        ...


def spill_for(run: str, source: str) -> FileSpill:
    """A file (with a new name, mode 0600) for this process's events as `source`; made only when needed."""
    return FileSpill(partial(_create, run, source))


@contextmanager
def collecting(run: str, janitor: FolderJanitor) -> Iterator[SpilledBatches]:
    """Within, the run's processes on this host spill into a folder, whose batches can be read when they have ended.
    Afterwards the folder is removed, by the janitor if this process is killed. Nothing is collected where no folder
    can be made. As long as this process or a child of it lives, the folder is locked: one that is not is left over."""
    folder = _folder(run)
    try:
        folder.mkdir(mode=0o700)
    except OSError:
        yield lambda: iter(())
        return
    lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        janitor.folder(folder)
        yield partial(_batches_in, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _batches_in(folder: Path) -> Iterator[bytes]:
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
    """Whether the folder belongs to this user, and no other can enter it. Any user may make one of that name."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077


def _folder(run: str) -> Path:
    return Path(tempfile.gettempdir()) / f"robots.{_plain(run)}"


def _plain(name: str) -> str:
    """The name without characters that are special in a path."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)
