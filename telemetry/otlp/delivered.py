"""What came of a delivery: spans that were accepted, and spans that were dropped. A follower leaves it in its run's
folder, because it may be gone by the time somebody asks.

This file loads nothing of OpenTelemetry.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

FOLDER: Final = "traces"
_FILE: Final = "delivered.json"


class Delivered(msgspec.Struct, frozen=True):
    """Spans that a collector accepted, and that were dropped; `trouble` is why, as far as is known."""

    accepted: int
    dropped: int
    trouble: str

    def line(self, where: str) -> str:
        """For people."""
        if not self.dropped:
            return f"traces: {self.accepted} spans accepted at {where}"
        why = f" ({self.trouble})" if self.trouble else ""
        return f"traces: {self.accepted} spans accepted at {where}, {self.dropped} dropped{why}"

    def __add__(self, other: Delivered) -> Delivered:
        return Delivered(self.accepted + other.accepted, self.dropped + other.dropped, self.trouble or other.trouble)

    def save(self, record: Path) -> None:
        """Leave this in the folder of a run's record. Raises OSError."""
        folder = record / FOLDER
        folder.mkdir(exist_ok=True)
        (folder / _FILE).write_bytes(msgspec.json.encode(self))


def saved_delivered(record: Path) -> Delivered | None:
    """What was left there; None when nothing that can be read was."""
    try:
        return msgspec.json.decode((record / FOLDER / _FILE).read_bytes(), type=Delivered)
    except (OSError, ValueError):  # msgspec's errors are ValueErrors
        return None
