"""Lengths of time as people write them: `100ms`, `1.5s`, `2m`. Inside they are whole microseconds, never floats."""

from __future__ import annotations

import re

_UNITS_US = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
_SHAPE = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(us|ms|s|m|h)")
_LONGEST_US = 366 * 24 * _UNITS_US["h"]


def parse_duration(text: str) -> int:
    """Microseconds of a text such as `20ms`. Raises ValueError that says what is allowed."""
    match = _SHAPE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a time; write a number and a unit: 20ms, 1.5s, 2m (us, ms, s, m, h)")
    microseconds = float(match[1]) * _UNITS_US[match[2]]
    if microseconds > _LONGEST_US:  # infinity too
        raise ValueError(f"{text!r} is too long; at most a year")
    return round(microseconds)


def format_duration(microseconds: int) -> str:
    """The shortest text that `parse_duration` reads back as exactly `microseconds` (≥ 0)."""
    if microseconds == 0:
        return "0s"
    for unit in ("h", "m", "s", "ms", "us"):
        if microseconds % _UNITS_US[unit] == 0:
            return f"{microseconds // _UNITS_US[unit]}{unit}"
    raise AssertionError("one microsecond divides every whole number")
