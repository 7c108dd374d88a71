"""The values of metrics at one moment, as frozen data: what the fold gives, and each rendering takes.

How they came about, and how they are written, is not known here.
"""

from __future__ import annotations

import msgspec

from telemetry.metrics.table import Metric

Attributes = tuple[tuple[str, str], ...]
"""Names and values, without what is empty."""


class Exemplar(msgspec.Struct, frozen=True):
    """One observation of a bucket, and its trace (128 bits) and span (64 bits). `at_us`: the wall clock."""

    trace: int
    span: int
    value: float
    at_us: int


class Number(msgspec.Struct, frozen=True):
    """One series of a counter or gauge."""

    attributes: Attributes
    value: int


class Distribution(msgspec.Struct, frozen=True):
    """One series of a histogram. `counts`: observations by bucket, each alone; the last has no upper bound.
    `exemplars`: the last one of each bucket, if any."""

    attributes: Attributes
    counts: tuple[int, ...]
    total: float
    least: float
    greatest: float
    exemplars: tuple[Exemplar | None, ...]

    @property
    def count(self) -> int:
        """All observations."""
        return sum(self.counts)


class Family(msgspec.Struct, frozen=True):
    """A metric and its series: numbers, or the distributions of a histogram."""

    metric: Metric
    numbers: tuple[Number, ...] = ()
    distributions: tuple[Distribution, ...] = ()


class MetricsSnapshot(msgspec.Struct, frozen=True):
    """All metrics of a run that have a value. `times_us`: of the earliest and the latest event, by the wall clock; None
    before any event came."""

    run: str
    times_us: tuple[int, int] | None
    families: tuple[Family, ...]
