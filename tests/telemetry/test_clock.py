"""A clock that is set right by another one."""

from __future__ import annotations

import time

import pytest

from telemetry.clock import SystemClock, error_us


@pytest.mark.parametrize(
    ("asked_us", "other_us", "answered_us", "error"),
    [
        (1_000, 1_000, 1_000, 0),
        (1_000, 1_400, 9_000, 0),  # a slow answer shows no difference
        (2_001_000, 1_100, 2_001_200, 2_000_000),
        (1_000, 2_001_100, 1_200, -2_000_000),
    ],
)
def test_only_a_clock_that_cannot_be_right_is_wrong(asked_us: int, other_us: int, answered_us: int, error: int) -> None:
    assert error_us(asked_us, other_us, answered_us) == error


def test_a_clock_whose_error_is_known_is_right() -> None:
    before_us = time.time_ns() // 1000
    corrected_us = SystemClock(error_us=5_000_000).wall_us() + 5_000_000
    assert before_us <= corrected_us <= time.time_ns() // 1000
