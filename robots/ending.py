"""When a run ends: one rule, for live and simulated runs."""

from __future__ import annotations

import msgspec

from telemetry.view import View


class Bounds(msgspec.Struct, frozen=True):
    """A run never ends before `for_us` after `go`, and never after `limit_us`."""

    for_us: int
    limit_us: int


def ending(view: View, elapsed_us: int, bounds: Bounds, is_settled: bool) -> str | None:
    """Why a run ends now, `elapsed_us` after `go`: `complete`, `limit`, or None when it goes on.

    `is_settled`: every dated fault of the plan has happened, and is over if it has a duration.
    """
    if elapsed_us >= bounds.for_us and is_settled and view.is_done:
        return "complete"
    if elapsed_us >= bounds.limit_us:
        return "limit"
    return None
