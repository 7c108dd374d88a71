"""Rates of faults: confidence intervals and p-values are those of the literature."""

from __future__ import annotations

from fractions import Fraction
from math import comb, erfc, sqrt

import pytest

from telemetry.verdict.checks.fault_rates import p_value, wilson_interval


@pytest.mark.parametrize(
    ("hits", "trials", "expected"),
    [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0.0, 0.1611)), (1, 29, (0.0061, 0.1718))],
)
def test_intervals_are_those_of_the_literature(hits: int, trials: int, expected: tuple[float, float]) -> None:
    # R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, the score method without correction
    low, high = wilson_interval(hits, trials)
    assert (round(low, 4), round(high, 4)) == expected


def test_a_confidence_interval_of_dependent_trials_is_that_of_fewer_independent_ones() -> None:
    assert wilson_interval(300, 1000, 10.0) == pytest.approx(wilson_interval(30, 100))
    assert wilson_interval(500, 1000, 0.0) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("hits", "trials", "p", "expected"),
    [
        (682, 925, 0.75, 0.3825),
        (0, 0, 0.3, 1.0),
        (0, 9, 0.0, 1.0),
        (1, 9, 0.0, 0.0),
        (9, 9, 1.0, 1.0),
        (8, 9, 1.0, 0.0),
    ],
)
def test_p_values_are_those_of_the_literature(hits: int, trials: int, p: float, expected: float) -> None:
    # The first is the example of R's binom.test: peas of Mendel
    assert p_value(hits, trials, p) == pytest.approx(expected, abs=5e-5)


def test_p_values_are_exact() -> None:
    # Given every outcome of some numbers of trials
    for trials in (1, 2, 7, 40):
        for p in (Fraction(1, 10), Fraction(1, 3), Fraction(1, 2), Fraction(9, 10)):
            chances = [comb(trials, hits) * p**hits * (1 - p) ** (trials - hits) for hits in range(trials + 1)]
            for hits, seen in enumerate(chances):
                # Then the p-value is the sum of all that are no likelier
                exact = sum(chance for chance in chances if chance <= seen)
                assert p_value(hits, trials, float(p)) == pytest.approx(float(exact), rel=1e-6)


def test_p_values_of_many_trials_are_those_of_the_normal_law() -> None:
    for deviations in (0.0, 1.0, 3.0, 6.0, 8.0):
        for sign in (1, -1):
            hits = 500_000 + sign * int(deviations * 500)
            expected = erfc(max(0.0, abs(hits - 500_000) - 0.5) / 500 / sqrt(2))
            assert p_value(hits, 1_000_000, 0.5) == pytest.approx(expected, rel=2e-3)
    assert p_value(0, 1_000_000, 0.5) == 0.0
    assert p_value(1_000_000, 1_000_000, 1e-6) == 0.0
