"""How often each planned fault was offered an envelope and acted on it, by the recomputed fates, and how likely it is.

Offered is every envelope that the fault's target selects and that still had a copy. A fault acted on it when it lost,
duplicated or damaged it, or delayed any copy. A reorder acted when it put back the first copy (every copy has dice of
its own, so that "any copy" would not have probability p); a partition that holds, when it held the envelope until its
release; a throttle, when the recorded copies are later than they would be without.

The statistics know no fault:

* `wilson_interval`: the score interval of E. B. Wilson, Journal of the American Statistical Association 22 (1927),
  209-212.
* `p_value`: the exact binomial test with two sides, as the sum over all outcomes that are no likelier than the observed
  one; so do R's binom.test and SciPy's binomtest.
"""

from __future__ import annotations

from math import exp, floor, inf, lgamma, log, log1p, sqrt
from typing import Final

from telemetry.verdict.case import Case
from telemetry.verdict.checks.fate_check import fate_matches, was_throttled
from telemetry.verdict.evidence.schema import FateRow
from telemetry.verdict.finding import State
from telemetry.verdict.recomputed.fault_effects import Address
from telemetry.verdict.recomputed.fault_rules import Rule

IMPOSSIBLE: Final = 1e-9
"""A smaller p-value is not taken for chance."""

_INDEPENDENT: Final = ("loss", "duplicate", "reorder", "corrupt")
_Z_95: Final = 1.959963984540054  # the normal distribution's quantile at 97.5 %
_AS_LIKELY: Final = 1e-7  # the rounding error between the logarithms of equal likelihoods
_NEGLIGIBLE: Final = 1e-17  # a term of a sum after which no other matters


class FaultRate:
    """One planned fault's numbers, in envelopes.

    `draws`: how many of the offered had dice of their own, and `hits`: on how many of these it acted. An envelope that
    is in an outbox twice has the same dice, and counts once.
    """

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.offered = 0
        self.injected = 0
        self.draws = 0
        self.hits = 0
        self.has_differing_fates = False

    @property
    def rate(self) -> float | None:
        """The share of the offered that it acted on; None when none was offered."""
        return round(self.injected / self.offered, 4) if self.offered else None

    @property
    def band(self) -> tuple[float, float] | None:
        """The 95 % confidence interval of the true rate; None for a fault without chance, or with nothing offered.

        The envelopes of a burst are not independent: neighbours have the correlation ρ = 1 − p − r of one step of the
        chain, so that the variance of their rate is (1 + ρ) / (1 − ρ) times greater.
        """
        if not self.offered or self.rule.name not in (*_INDEPENDENT, "burst-loss"):
            return None
        inflation = 1.0
        if self.rule.name == "burst-loss":
            correlation = 1 - self.rule.worsens - self.rule.mends
            inflation = max(0.0, (1 + correlation) / (1 - correlation))
        low, high = wilson_interval(self.injected, self.offered, inflation)
        return round(low, 4), round(high, 4)

    @property
    def p_value(self) -> float:
        """The p-value of its rate, given the planned probability; 1 for faults without independent dice."""
        if self.rule.name not in _INDEPENDENT:
            return 1.0
        return p_value(self.hits, self.draws, self.rule.p)

    @property
    def state(self) -> State:
        """BROKEN when a fate differs or the rate is beyond chance, UNPROVEN when nothing was offered."""
        if self.has_differing_fates or self.p_value < IMPOSSIBLE:
            return "BROKEN"
        return "HELD" if self.offered else "UNPROVEN"


def fault_rates(case: Case) -> list[FaultRate]:
    """The rate of every fault that was ever planned. Raises EvidenceError."""
    rate_of = {rule: FaultRate(rule) for rule in case.rulebook.rules()}
    drawn: set[Address] = set()
    for key, ruling in case.rulings.items():
        row = case.traffic.entries[key]
        matches, throttled = fate_matches(row, ruling), was_throttled(row, ruling)
        address = _address(row)
        is_new = address not in drawn
        drawn.add(address)
        for rule in ruling.offered:
            rate = rate_of[rule]
            rate.offered += 1
            rate.draws += is_new
            rate.has_differing_fates |= not matches
        for rule in (*ruling.acted, *(ruling.throttles if throttled else ())):
            rate_of[rule].injected += 1
            rate_of[rule].hits += is_new
    return list(rate_of.values())


def _address(row: FateRow) -> Address:
    return Address(row.sender, row.incarnation, row.receiver, row.sequence or 0)


def wilson_interval(hits: int, trials: int, inflation: float = 1.0) -> tuple[float, float]:
    """The 95 % confidence interval of the rate that gave `hits` in `trials` (≥ 1).

    `inflation`: how many times greater the variance is than that of independent trials.
    """
    spread = _Z_95 * _Z_95 * inflation
    centre = (hits + spread / 2) / (trials + spread)
    half = _Z_95 * sqrt(inflation) / (trials + spread) * sqrt(hits * (trials - hits) / trials + spread / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


def p_value(hits: int, trials: int, p: float) -> float:
    """The probability that `trials` independent trials of probability `p` give no likelier number than `hits`."""
    if p in (0.0, 1.0) or trials == 0:
        return float(hits == trials * p)
    observed = _log_likelihood(hits, trials, p) + _AS_LIKELY
    mode = min(trials, floor((trials + 1) * p))
    if _log_likelihood(mode, trials, p) <= observed:
        return 1.0
    if hits < mode:
        low, high = hits, _first_above(mode, trials, p, observed)
    else:
        low, high = _last_below(mode, trials, p, observed), hits
    return min(1.0, _tail(low, trials, p, -1) + _tail(high, trials, p, 1))


def _log_likelihood(hits: int, trials: int, p: float) -> float:
    log_choose = lgamma(trials + 1) - lgamma(hits + 1) - lgamma(trials - hits + 1)
    return log_choose + hits * log(p) + (trials - hits) * log1p(-p)


def _first_above(mode: int, trials: int, p: float, observed: float) -> int:
    """The first number above the mode that is no likelier than `observed`; it may be beyond all trials."""
    low, high = mode, trials + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _log_likelihood(middle, trials, p) <= observed else (middle, high)
    return high


def _last_below(mode: int, trials: int, p: float, observed: float) -> int:
    """The last number below the mode that is no likelier than `observed`; it may be -1."""
    low, high = -1, mode
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _log_likelihood(middle, trials, p) <= observed else (low, middle)
    return low


def _tail(hits: int, trials: int, p: float, step: int) -> float:
    """The probability of `hits` and of everything beyond it in the direction of `step`, away from the mode."""
    if not 0 <= hits <= trials:
        return 0.0
    term = total = exp(_log_likelihood(hits, trials, p))
    ratio = p / (1 - p)
    while 0 <= hits + step <= trials and term > total * _NEGLIGIBLE:
        up = (trials - hits) / (hits + 1) * ratio
        down = hits / (trials - hits + 1) / ratio if step < 0 else inf
        term *= up if step > 0 else down
        total += term
        hits += step
    return total
