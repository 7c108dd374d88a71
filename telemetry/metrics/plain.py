"""Metrics as plain objects, for `--json`: structs of primitives with the names that a person reads."""

from __future__ import annotations

import msgspec

from telemetry.metrics.table import BOUNDS_S
from telemetry.metrics.values import Distribution, Family, MetricsSnapshot, Number


class NumberShown(msgspec.Struct, frozen=True):
    """One series of a counter or gauge."""

    attributes: dict[str, str]
    value: int


class BucketShown(msgspec.Struct, frozen=True):
    """Observations of at most `bound_s` seconds (None: any) that the buckets before do not hold."""

    bound_s: float | None
    count: int


class DistributionShown(msgspec.Struct, frozen=True):
    """One series of a histogram, in seconds. Empty buckets are left out."""

    attributes: dict[str, str]
    count: int
    total_s: float
    least_s: float
    greatest_s: float
    buckets: tuple[BucketShown, ...]


class MetricShown(msgspec.Struct, frozen=True, omit_defaults=True):
    """A metric that has a value: its series, of a histogram its distributions."""

    name: str
    instrument: str
    unit: str
    series: tuple[NumberShown, ...] = ()
    distributions: tuple[DistributionShown, ...] = ()


class MetricsShown(msgspec.Struct, frozen=True):
    """The metrics of a run, by the events that were read."""

    run: str
    metrics: tuple[MetricShown, ...]


def shown(snapshot: MetricsSnapshot, run: str) -> MetricsShown:
    """All metrics of a snapshot."""
    return MetricsShown(run, tuple(map(_metric, snapshot.families)))


def _metric(family: Family) -> MetricShown:
    metric = family.metric
    return MetricShown(
        metric.name,
        metric.instrument.value,
        metric.unit,
        tuple(map(_number, family.numbers)),
        tuple(map(_distribution, family.distributions)),
    )


def _number(number: Number) -> NumberShown:
    return NumberShown(dict(number.attributes), number.value)


def _distribution(distribution: Distribution) -> DistributionShown:
    counted = zip((*BOUNDS_S, None), distribution.counts, strict=True)
    return DistributionShown(
        dict(distribution.attributes),
        distribution.count,
        distribution.total,
        distribution.least,
        distribution.greatest,
        tuple(BucketShown(bound_s, count) for bound_s, count in counted if count),
    )
