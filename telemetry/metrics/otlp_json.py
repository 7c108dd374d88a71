"""OTLP/JSON: the text of an export request for metrics of OpenTelemetry's SDK.

It equals the official protobuf encoder's request in the JSON mapping of OTLP: ids in hex, 64-bit numbers as strings,
and nothing that is empty. Exponential histograms are not made here, and not written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)

Json = dict[str, Any]

_CUMULATIVE: Final = 2


def encode_metrics(data: MetricsData) -> bytes:
    """One ExportMetricsServiceRequest, on one line."""
    request = {"resourceMetrics": [_resource_metrics(one) for one in data.resource_metrics]}
    return json.dumps(request, separators=(",", ":"), allow_nan=False).encode("ascii")


def _resource_metrics(one: ResourceMetrics) -> Json:
    resource = _present(attributes=_attributes(one.resource.attributes))
    scopes = [_scope_metrics(scope) for scope in one.scope_metrics]
    return {"resource": resource, "scopeMetrics": scopes, **_present(schemaUrl=one.resource.schema_url)}


def _scope_metrics(one: ScopeMetrics) -> Json:
    scope = _present(name=one.scope.name, version=one.scope.version, attributes=_attributes(one.scope.attributes))
    metrics = [_metric(metric) for metric in one.metrics]
    return {"scope": scope, "metrics": metrics, **_present(schemaUrl=one.scope.schema_url)}


def _metric(metric: Metric) -> Json:
    about = _present(name=metric.name, description=metric.description, unit=metric.unit)
    match metric.data:
        case Gauge(points):
            return {**about, "gauge": {"dataPoints": [_number(point, has_start=False) for point in points]}}
        case Sum(points, _, is_monotonic):
            data = {"dataPoints": [_number(point) for point in points], "aggregationTemporality": _CUMULATIVE}
            return {**about, "sum": data | _present(isMonotonic=is_monotonic)}
        case Histogram(points):
            data = {"dataPoints": [_distribution(point) for point in points], "aggregationTemporality": _CUMULATIVE}
            return {**about, "histogram": data}
    raise TypeError(f"a metric of {type(metric.data).__name__} cannot be written")


def _number(point: NumberDataPoint, has_start: bool = True) -> Json:
    value = {"asInt": str(point.value)} if isinstance(point.value, int) else {"asDouble": point.value}
    start = {"startTimeUnixNano": str(point.start_time_unix_nano)} if has_start else {}
    return {**_about(point.attributes), **start, "timeUnixNano": str(point.time_unix_nano), **value}


def _distribution(point: HistogramDataPoint) -> Json:
    return {
        **_about(point.attributes),
        "startTimeUnixNano": str(point.start_time_unix_nano),
        "timeUnixNano": str(point.time_unix_nano),
        "count": str(point.count),
        "sum": point.sum,
        "bucketCounts": [str(count) for count in point.bucket_counts],
        "explicitBounds": list(point.explicit_bounds),
        "min": point.min,
        "max": point.max,
        **_present(exemplars=[_exemplar(one) for one in point.exemplars]),
    }


def _exemplar(exemplar: Exemplar) -> Json:
    return {
        "timeUnixNano": str(exemplar.time_unix_nano),
        "asDouble": exemplar.value,
        **({} if exemplar.span_id is None else {"spanId": f"{exemplar.span_id:016x}"}),
        **({} if exemplar.trace_id is None else {"traceId": f"{exemplar.trace_id:032x}"}),
    }


def _about(attributes: Mapping[str, Any] | None) -> Json:
    return _present(attributes=_attributes(attributes))


def _attributes(attributes: Mapping[str, Any] | None) -> list[Json]:
    """Metrics of the lab have attributes of text alone."""
    return [{"key": key, "value": {"stringValue": str(value)}} for key, value in (attributes or {}).items()]


def _present(**fields: Any) -> Json:
    """The fields that are not empty: OTLP leaves the others out."""
    return {name: value for name, value in fields.items() if value}
