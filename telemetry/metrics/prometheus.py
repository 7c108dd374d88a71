"""Metrics for Prometheus: a collector of its own client, as text and over HTTP.

Names follow OpenTelemetry's rule for Prometheus: `_` for `.`, the unit at the end, `_total` behind a counter. Exemplars
are only in OpenMetrics, which Prometheus asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric as PrometheusFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Timestamp

from telemetry.metrics import values
from telemetry.metrics.table import BOUNDS_S, Instrument, Metric
from telemetry.metrics.values import Attributes, Distribution, Family, MetricsSnapshot

_UNITS: Final = {"s": "seconds"}  # words in braces are no unit
_BOUNDS: Final = (*map(str, BOUNDS_S), "+Inf")

Observe = Callable[[], MetricsSnapshot]
"""The values now; called by any thread."""


class RunCollector(Collector):
    """Gives Prometheus' client what `observe` finds, and `resource` as the labels of `target_info`."""

    def __init__(self, observe: Observe, resource: Mapping[str, str]) -> None:
        self._observe = observe
        self._resource = {_name(name): value for name, value in resource.items()}

    def collect(self) -> Iterator[PrometheusFamily]:
        """The families now."""
        yield InfoMetricFamily("target", "what the metrics are about", self._resource)
        yield from map(prometheus_family, self._observe().families)


def text(observe: Observe, resource: Mapping[str, str]) -> str:
    """The values now, in Prometheus' text format."""
    return generate_latest(_registry(observe, resource)).decode()


@contextmanager
def served(observe: Observe, resource: Mapping[str, str], host: str, port: int) -> Iterator[int]:
    """Within the block the values are served over HTTP, at any path: in the format that is asked for. The port that is
    used; for port 0, the system takes a free one. Raises OSError when it cannot be used."""
    server, thread = start_http_server(port, host, _registry(observe, resource))
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def prometheus_name(metric: Metric) -> str:
    """The metric's name for Prometheus, as in its queries; a histogram's series add `_bucket`, `_sum`, `_count`."""
    name = _name(metric.name) + (f"_{_UNITS[metric.unit]}" if metric.unit in _UNITS else "")
    return name + "_total" * (metric.instrument is Instrument.COUNTER)


def prometheus_family(family: Family) -> PrometheusFamily:
    """The family as Prometheus' client has it."""
    metric = family.metric
    name, unit = _name(metric.name), _UNITS.get(metric.unit, "")
    if metric.instrument is Instrument.HISTOGRAM:
        return _histogram(HistogramMetricFamily(name, metric.meaning, unit=unit), family)
    is_counter = metric.instrument is Instrument.COUNTER
    found = (CounterMetricFamily if is_counter else GaugeMetricFamily)(name, metric.meaning, unit=unit)
    for number in family.numbers:
        found.add_sample(prometheus_name(metric), _labels(number.attributes), number.value)
    return found


def _histogram(found: HistogramMetricFamily, family: Family) -> PrometheusFamily:
    for distribution in family.distributions:
        labels = _labels(distribution.attributes)
        for bound, count, exemplar in _cumulated(distribution):
            found.add_sample(f"{found.name}_bucket", {**labels, "le": bound}, count, exemplar=exemplar)
        found.add_sample(f"{found.name}_count", labels, distribution.count)
        found.add_sample(f"{found.name}_sum", labels, distribution.total)
    return found


def _cumulated(distribution: Distribution) -> Iterator[tuple[str, int, Exemplar | None]]:
    below = 0
    for bound, count, exemplar in zip(_BOUNDS, distribution.counts, distribution.exemplars, strict=True):
        below += count
        yield bound, below, None if exemplar is None else _exemplar(exemplar)


def _exemplar(exemplar: values.Exemplar) -> Exemplar:
    seconds, microseconds = divmod(exemplar.at_us, 1_000_000)
    ids = {"trace_id": f"{exemplar.trace:032x}", "span_id": f"{exemplar.span:016x}"}
    return Exemplar(ids, exemplar.value, Timestamp(seconds, microseconds * 1000))


def _registry(observe: Observe, resource: Mapping[str, str]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(RunCollector(observe, resource))
    return registry


def _labels(attributes: Attributes) -> dict[str, str]:
    return {_name(name): value for name, value in attributes}


def _name(name: str) -> str:
    return name.replace(".", "_")
