"""How far a counted rate lets one see the true one. Pure numbers: nothing here knows a fault.

* `band`: the score interval of E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
  Journal of the American Statistical Association 22 (1927), 209-212.
* `surprise`: the exact binomial test with two sides, as the sum over all outcomes that are no likelier than the one
  that was seen; so do R's binom.test and SciPy's binomtest.
"""

from __future__ import annotations

from math import exp, floor, inf, lgamma, log, log1p, sqrt
from typing import Final

_Z_95: Final = 1.959963984540054  # the normal distribution's quantile at 97.5 %
_AS_LIKELY: Final = 1e-7  # by so much may the logarithms of equal likelihoods differ, because they are computed
_NEGLIGIBLE: Final = 1e-17  # of a sum: a term after which nothing more counts


def band(hits: int, trials: int, inflation: float = 1.0) -> tuple[float, float]:
    """Where, with 95 % confidence, the true rate lies that gave `hits` in `trials` (≥ 1).

    `inflation`: how many times greater the variance is than that of independent trials.
    """
    spread = _Z_95 * _Z_95 * inflation
    centre = (hits + spread / 2) / (trials + spread)
    half = _Z_95 * sqrt(inflation) / (trials + spread) * sqrt(hits * (trials - hits) / trials + spread / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


def surprise(hits: int, trials: int, p: float) -> float:
    """The probability that `trials` independent throws of probability `p` give no likelier number than `hits`."""
    if p in (0.0, 1.0) or trials == 0:
        return float(hits == trials * p)
    seen = _log_likelihood(hits, trials, p) + _AS_LIKELY
    mode = min(trials, floor((trials + 1) * p))
    if _log_likelihood(mode, trials, p) <= seen:
        return 1.0
    if hits < mode:
        low, high = hits, _first_above(mode, trials, p, seen)
    else:
        low, high = _last_below(mode, trials, p, seen), hits
    return min(1.0, _tail(low, trials, p, -1) + _tail(high, trials, p, 1))


def _log_likelihood(hits: int, trials: int, p: float) -> float:
    ways = lgamma(trials + 1) - lgamma(hits + 1) - lgamma(trials - hits + 1)
    return ways + hits * log(p) + (trials - hits) * log1p(-p)


def _first_above(mode: int, trials: int, p: float, seen: float) -> int:
    """The first number above the mode that is no likelier than `seen`; it may be beyond all trials."""
    low, high = mode, trials + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _log_likelihood(middle, trials, p) <= seen else (middle, high)
    return high


def _last_below(mode: int, trials: int, p: float, seen: float) -> int:
    """The last number below the mode that is no likelier than `seen`; it may be -1."""
    low, high = -1, mode
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _log_likelihood(middle, trials, p) <= seen else (low, middle)
    return low


def _tail(hits: int, trials: int, p: float, step: int) -> float:
    """The probability of `hits` and of everything beyond it in the direction of `step`, away from the mode."""
    if not 0 <= hits <= trials:
        return 0.0
    term = total = exp(_log_likelihood(hits, trials, p))
    odds = p / (1 - p)
    while 0 <= hits + step <= trials and term > total * _NEGLIGIBLE:
        up = (trials - hits) / (hits + 1) * odds
        down = hits / (trials - hits + 1) / odds if step < 0 else inf
        term *= up if step > 0 else down
        total += term
        hits += step
    return total
