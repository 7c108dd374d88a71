"""Reads a record's `events.jsonl` while its run goes on and the file grows. Nothing is written, and nothing judged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from telemetry.events import Stamped

_CHUNK: Final = 1 << 20  # bytes in one read


def is_cut(path: Path) -> bool:
    """Whether the file ends within a line, which is then left out. Raises OSError."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 1))
        return file.read(1) not in (b"", b"\n")


class GrowingEvents:
    """The events of one file, each once. `damaged` counts whole lines that are no event. At most the first `most_bytes`
    of the file are read."""

    def __init__(self, path: Path, most_bytes: int | None = None) -> None:
        self.damaged = 0
        self._path = path
        self._most_bytes = most_bytes
        self._position = 0
        self._decode = msgspec.json.Decoder(Stamped).decode

    def read(self) -> Iterator[Stamped]:
        """What has come since the last call, up to the last whole line; nothing while there is no file. Raises OSError
        when it cannot be read."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._position)
            rest = b""
            while chunk := file.read(_CHUNK):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._position += len(line) + 1
                    yield from self._event_in(line)
                if self._most_bytes is not None and self._position >= self._most_bytes:
                    return

    def _event_in(self, line: bytes) -> Iterator[Stamped]:
        try:
            yield self._decode(line)
        except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
            self.damaged += 1
