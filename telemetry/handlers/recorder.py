"""Appends every event to the record's `events.jsonl`, one JSON object a line."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import msgspec

from telemetry.events import Stamped
from telemetry.pipeline import Next

_encode = msgspec.json.Encoder().encode


class Recorder:
    """A file of events, one a line; complete lines even when the process dies, except the last."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=1 << 16)

    def handle(self, stamped: Stamped, following: Next) -> None:
        self._file.write(_encode(stamped) + b"\n")
        following(stamped)

    def flush(self) -> None:
        """Hand what is buffered to the operating system."""
        self._file.flush()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
