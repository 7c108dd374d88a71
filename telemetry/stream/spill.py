"""Events that neither the run's stream nor memory could take: a file of their process's own, and what is read of it.

A file is a row of frames, each behind its length (four bytes, the highest first). It is read by its own process, or by
whoever finds what a dead one has left. What a frame holds must never matter here, nor where files lie and whose they
are (deploy/spills.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

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
