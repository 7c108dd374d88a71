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
    """Spans that a collector accepted, and that were dropped; `trouble` is why, as far as is known. Of a run that was
    followed: `missed` events never came to the follower; `is_cut`: it had no time to read to the run's end."""

    accepted: int = 0
    dropped: int = 0
    trouble: str = ""
    missed: int = 0
    is_cut: bool = False

    def line(self, where: str) -> str:
        """For people."""
        why = f" ({self.trouble})" if self.trouble else ""
        dropped = f", {self.dropped} dropped{why}" if self.dropped else ""
        missed = f"; {self.missed} events never came to their follower" if self.missed else ""
        cut = "; their follower had no time to read the last events" if self.is_cut else ""
        return f"traces: {self.accepted} spans accepted at {where}{dropped}{missed}{cut}"

    def __add__(self, other: Delivered) -> Delivered:
        return Delivered(
            self.accepted + other.accepted,
            self.dropped + other.dropped,
            self.trouble or other.trouble,
            self.missed + other.missed,
            self.is_cut or other.is_cut,
        )

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
