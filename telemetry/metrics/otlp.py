"""Metrics for OTLP: OpenTelemetry's own data classes, which any exporter of its SDK takes.

The SDK's instruments have no part in it: a histogram of what was folded elsewhere cannot be recorded with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Metric as OtlpMetric
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from telemetry.metrics import values
from telemetry.metrics.table import BOUNDS_S, Instrument
from telemetry.metrics.values import Distribution, Family, MetricsSnapshot, Number
from telemetry.otlp.readable import SCHEMA, SCOPE

_SCOPE: Final = InstrumentationScope(SCOPE, schema_url=SCHEMA)
_CUMULATIVE: Final = AggregationTemporality.CUMULATIVE


def metrics_data(snapshot: MetricsSnapshot, resource: Mapping[str, str], now_us: int) -> MetricsData:
    """All metrics of a snapshot, of the time `now_us` (microseconds since 1970). `resource`: its attributes."""
    first_us = now_us if snapshot.times_us is None else snapshot.times_us[0]
    times = _Times(min(first_us, now_us) * 1000, now_us * 1000)
    metrics = [times.metric(family) for family in snapshot.families]
    scope = ScopeMetrics(_SCOPE, metrics, SCHEMA)
    return MetricsData([ResourceMetrics(Resource(dict(resource), SCHEMA), [scope], SCHEMA)])


class _Times:
    """When counting began, and the time of the values, in nanoseconds."""

    def __init__(self, start_ns: int, now_ns: int) -> None:
        self._start_ns = start_ns
        self._now_ns = now_ns

    def metric(self, family: Family) -> OtlpMetric:
        """The family as the SDK has it."""
        metric = family.metric
        return OtlpMetric(metric.name, metric.meaning, metric.unit, self._data(family))

    def _data(self, family: Family) -> Sum | Gauge | Histogram:
        instrument = family.metric.instrument
        if instrument is Instrument.HISTOGRAM:
            return Histogram([self._distribution(one) for one in family.distributions], _CUMULATIVE)
        numbers = [self._number(one) for one in family.numbers]
        if instrument is Instrument.GAUGE:
            return Gauge(numbers)
        return Sum(numbers, _CUMULATIVE, is_monotonic=instrument is Instrument.COUNTER)

    def _number(self, number: Number) -> NumberDataPoint:
        return NumberDataPoint(dict(number.attributes), self._start_ns, self._now_ns, number.value)

    def _distribution(self, distribution: Distribution) -> HistogramDataPoint:
        return HistogramDataPoint(
            attributes=dict(distribution.attributes),
            start_time_unix_nano=self._start_ns,
            time_unix_nano=self._now_ns,
            count=distribution.count,
            sum=distribution.total,
            bucket_counts=distribution.counts,
            explicit_bounds=BOUNDS_S,
            min=distribution.least,
            max=distribution.greatest,
            exemplars=[_exemplar(one) for one in distribution.exemplars if one is not None],
        )


def _exemplar(exemplar: values.Exemplar) -> Exemplar:
    return Exemplar({}, exemplar.value, exemplar.at_us * 1000, exemplar.span, exemplar.trace)
