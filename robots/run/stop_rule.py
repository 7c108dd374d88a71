"""When a run ends, and why: one rule, for live and simulated runs. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from telemetry.view import View

LOST: Final = "lost"
"""How a run ends whose server came back older, or without it."""

REASONS: Final = ("complete", "limit", "stopped", "interrupted", LOST)
"""Why a run ends: by the rule (the first two), because a person ends it, or because its server lost data."""


class Bounds(msgspec.Struct, frozen=True):
    """By the rule, a run never ends before `for_us` after `go`, and never after `limit_us`."""

    for_us: int
    limit_us: int


def stop_reason(view: View, elapsed_us: int, bounds: Bounds, is_settled: bool) -> str | None:
    """Why a run ends now, `elapsed_us` after `go`: `complete`, `limit`, or None when it goes on.

    `is_settled`: every dated fault of the plan has happened, and is over if it has a duration.
    """
    if elapsed_us >= bounds.for_us and is_settled and view.is_done:
        return "complete"
    if elapsed_us >= bounds.limit_us:
        return "limit"
    return None


def reason_in(content: bytes) -> str:
    """The reason in an order to stop: one of REASONS; `stopped` for any other content."""
    return next((reason for reason in REASONS if reason.encode() == content), "stopped")
