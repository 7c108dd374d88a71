"""A watch on the progress of a run, made from its deal: for those that show a run while it goes on."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from telemetry.diagnosis.causes import diagnose
from telemetry.diagnosis.stalls import StallWatch
from telemetry.record.rows import DealtPart
from telemetry.verdict.recomputed.links import Links


def stall_watch(indices: Any, tick_us: int) -> StallWatch:
    """`indices` as in `deal.json`; what cannot be read so is a deal of which nothing is known."""
    try:
        dealt = msgspec.convert(indices, tuple[DealtPart, ...])
    except ValueError:
        dealt = ()
    holders = {part.index: part.holders for part in dealt}
    return StallWatch(partial(diagnose, holders=holders, links_under=Links), tick_us)
