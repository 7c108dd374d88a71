"""Why a run does not go on: what commands need to notice it."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from telemetry.diagnosis.causes import diagnose
from telemetry.diagnosis.stalls import StallWatch
from telemetry.explanations.links import Links
from telemetry.record.rows import DealtPart


def stall_watch(indices: Any, tick_us: int) -> StallWatch:
    """A watch on the progress of a run. `indices` as in `deal.json`; what cannot be read so is a deal of which nothing
    is known."""
    try:
        dealt = msgspec.convert(indices, tuple[DealtPart, ...])
    except ValueError:
        dealt = ()
    holders = {part.index: part.holders for part in dealt}
    return StallWatch(partial(diagnose, holders=holders, links_under=Links), tick_us)
