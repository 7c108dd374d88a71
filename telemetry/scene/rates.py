"""How often envelopes were lost, duplicated, damaged or delayed, and how sure a rate is. The page of faults alone needs
it; the judge has an arithmetic of its own, over other evidence.

The band is the score interval of E. B. Wilson, Journal of the American Statistical Association 22 (1927), 209-212.
"""

from __future__ import annotations

from math import sqrt
from typing import Final, NamedTuple

from telemetry.scene.network import Fates

_Z_95: Final = 1.96  # the normal distribution's quantile at 97.5 %


class Rate(NamedTuple):
    """`hits` of `trials` envelopes."""

    hits: int
    trials: int

    @property
    def share(self) -> float | None:
        """0..1; None when there were no trials: it is not known."""
        return self.hits / self.trials if self.trials else None

    @property
    def band(self) -> tuple[float, float] | None:
        """The 95 % confidence interval of the true rate; None when there were no trials."""
        if not self.trials:
            return None
        spread = _Z_95 * _Z_95
        centre = (self.hits + spread / 2) / (self.trials + spread)
        half = _Z_95 / (self.trials + spread) * sqrt(self.hits * (self.trials - self.hits) / self.trials + spread / 4)
        return max(0.0, centre - half), min(1.0, centre + half)


def rate_of(what: str, fates: Fates) -> Rate:
    """The rate of what relays count: `loss` of all envelopes that were whole and of a living robot; `duplicate`,
    `corrupt` and `delay` of those that were not lost."""
    offered = fates.offered - fates.stale - fates.refused
    if what == "loss":
        return Rate(fates.lost, offered)
    hits = {"duplicate": fates.duplicated, "corrupt": fates.corrupted, "delay": fates.delayed}[what]
    return Rate(hits, offered - fates.lost)
