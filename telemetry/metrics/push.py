"""Pushes metrics to a collector: now and then, and at the end, as OTLP/JSON or by the official exporter as protobuf.

A collector that is dead, slow or refusing costs at most its timeout, and is reported in one line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from telemetry.metrics.otlp import metrics_data
from telemetry.metrics.otlp_json import encode_metrics
from telemetry.metrics.values import MetricsSnapshot
from telemetry.otlp.collector import Collector
from telemetry.otlp.endpoint import BadEndpoint, Endpoint, endpoint_of
from telemetry.otlp.official import official_exporter
from telemetry.otlp.usable import demand_usable

_INTERVAL: Final = "OTEL_METRIC_EXPORT_INTERVAL"
_DEFAULT_INTERVAL_MS: Final = 60_000  # OpenTelemetry's

Report = Callable[[str], None]


class JsonMetricExporter(MetricExporter):
    """Exports metrics as OTLP/JSON. `trouble`: why the last values were not accepted, or not all of them."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Raises BadEndpoint."""
        super().__init__()
        self.trouble = ""
        self._collector = Collector(endpoint)

    def export(
        self,
        metrics_data: MetricsData,
        timeout_millis: float = 10_000,  # noqa: ARG002  the endpoint has its own
        **_more: Any,
    ) -> MetricExportResult:
        """Raises nothing: what goes wrong is told by `trouble`."""
        answer = self._collector.deliver(encode_metrics(metrics_data))
        self.trouble = answer.trouble or (f"it rejects {answer.rejected} data points" if answer.rejected else "")
        return MetricExportResult.FAILURE if self.trouble else MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:  # noqa: ARG002
        """Nothing is buffered here."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_more: Any) -> None:  # noqa: ARG002
        """Close the connection."""
        self._collector.shut_down()


class MetricsPusher:
    """Pushes the metrics of one run through any exporter of OpenTelemetry's SDK."""

    def __init__(self, exporter: MetricExporter, where: str, interval_s: float, report: Report) -> None:
        """`where` names the collector for people; `report` gets one line about the first trouble."""
        self._exporter = exporter
        self._where = where
        self._interval_s = interval_s
        self._report = report
        self._is_reported = False
        self._due_s = time.monotonic() + interval_s

    def push_if_due(self, observe: Callable[[], MetricsSnapshot], resource: Mapping[str, str]) -> None:
        """Push what `observe` finds, unless the interval is not over yet."""
        if time.monotonic() >= self._due_s:
            self.push(observe(), resource)

    def push(self, snapshot: MetricsSnapshot, resource: Mapping[str, str]) -> None:
        """Push these values, as those of now."""
        result = self._exporter.export(metrics_data(snapshot, resource, time.time_ns() // 1000))
        self._due_s = time.monotonic() + self._interval_s
        if result is not MetricExportResult.SUCCESS and not self._is_reported:
            self._is_reported = True
            trouble = getattr(self._exporter, "trouble", "") or "it does not accept them"
            self._report(f"metrics: the collector at {self._where} is in trouble: {trouble}")

    def close(self) -> None:
        """Nothing is pushed any more."""
        self._exporter.shutdown()


def pusher_of(environment: Mapping[str, str], report: Report) -> MetricsPusher | None:
    """The pusher to the collector that the environment names; None when it names none. Raises BadEndpoint."""
    endpoint = endpoint_of(environment, "metrics")
    if endpoint is None:
        return None
    demand_usable(endpoint)
    return MetricsPusher(_exporter(endpoint), endpoint.shown, _interval_s(environment), report)


def _interval_s(environment: Mapping[str, str]) -> float:
    text = environment.get(_INTERVAL, "").strip() or str(_DEFAULT_INTERVAL_MS)
    if not text.isascii() or not text.isdigit() or int(text[:9]) == 0:
        raise BadEndpoint(f"{_INTERVAL}: allowed are whole milliseconds from 1 on")
    return int(text[:9]) / 1000


def _exporter(endpoint: Endpoint) -> MetricExporter:
    if endpoint.protocol == "http/json":
        return JsonMetricExporter(endpoint)
    exporter: MetricExporter = official_exporter(endpoint)
    return exporter
