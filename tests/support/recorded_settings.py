"""The settings of a run, as its record has them. No tests here."""

from __future__ import annotations

from typing import Any

import msgspec

from telemetry.record.settings import RunSettings


def settings_row(**changes: object) -> dict[str, Any]:
    """`settings.json` of a run that was dealt and has not ended, with `changes`."""
    settings = RunSettings(
        run="f00000",
        version="test",
        mode="live",
        robots=6,
        copies=1,
        seed=1,
        preset="calm",
        tick_us=100_000,
        quiet_period_us=1_000_000,
        for_us=0,
        limit_us=30_000_000,
        shards=1,
        plan=(),
        instances=(),
        again="robots run",
    )
    row: dict[str, Any] = msgspec.to_builtins(settings)
    return row | changes


def settings_of(**changes: object) -> RunSettings:
    """The same as a struct, unchecked: a test may want values that no reader takes."""
    return msgspec.structs.replace(msgspec.convert(settings_row(), RunSettings), **changes)
