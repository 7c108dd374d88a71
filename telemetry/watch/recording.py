"""A run that is over, as a replay needs it. Only the shape lives here: what reads a record fills it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from telemetry.events import Stamped
from telemetry.record.rows import DealtPart
from telemetry.record.settings import RunSettings


class Recording(msgspec.Struct, frozen=True):
    """`events` are in the order of their times; `missed` of them are not there. `result` is the verdict as `--json`
    prints it (None: it was never judged), `secret` what was written, and `folder` the record."""

    settings: RunSettings
    dealt: tuple[DealtPart, ...]
    events: Sequence[Stamped]
    missed: int = 0
    result: Mapping[str, Any] | None = None
    secret: str = ""
    folder: Path | None = None

    @property
    def start_us(self) -> int:
        """The time of the first event."""
        return self.events[0].wall_us if self.events else 0

    @property
    def end_us(self) -> int:
        """The time of the last one."""
        return self.events[-1].wall_us if self.events else 0
