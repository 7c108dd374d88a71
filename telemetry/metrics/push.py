"""Pushes metrics to a collector: now and then, and at the end, as OTLP/JSON or by the official exporter as protobuf.

A collector that is dead, slow or refusing costs at most its timeout, and is reported in one line.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from telemetry.metrics.otlp import metrics_data
from telemetry.metrics.otlp_json import encode_metrics
from telemetry.metrics.values import MetricsSnapshot
from telemetry.otlp.collector import Collector
from telemetry.otlp.endpoint import BadEndpoint, Endpoint, endpoint_of

_INTERVAL: Final = "OTEL_METRIC_EXPORT_INTERVAL"
_DEFAULT_INTERVAL_MS: Final = 60_000  # OpenTelemetry's
_EXTRA: Final = "pip install 'robots-lab[otlp]'"

Report = Callable[[str], None]


class JsonMetricExporter(MetricExporter):
    """Exports metrics as OTLP/JSON. `trouble`: why the last request failed, empty when it was accepted."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Raises BadEndpoint."""
        super().__init__()
        self.trouble = ""
        self._timeout_s = endpoint.timeout_s
        self._collector = Collector(endpoint)

    def export(
        self,
        metrics_data: MetricsData,
        timeout_millis: float = 10_000,  # noqa: ARG002  the endpoint has its own
        **_more: Any,
    ) -> MetricExportResult:
        """Raises nothing: what goes wrong is told by `trouble`."""
        self.trouble = self._collector.send(encode_metrics(metrics_data), self._timeout_s).trouble
        return MetricExportResult.FAILURE if self.trouble else MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:  # noqa: ARG002
        """Nothing is buffered here."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_more: Any) -> None:  # noqa: ARG002
        """Close the connection."""
        self._collector.close()


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
    return MetricsPusher(_exporter(endpoint), endpoint.shown, _interval_s(environment), report)


def _interval_s(environment: Mapping[str, str]) -> float:
    text = environment.get(_INTERVAL, "").strip() or str(_DEFAULT_INTERVAL_MS)
    if not text.isascii() or not text.isdigit() or int(text[:9]) == 0:
        raise BadEndpoint(f"{_INTERVAL}: allowed are whole milliseconds from 1 on")
    return int(text[:9]) / 1000


def _exporter(endpoint: Endpoint) -> MetricExporter:
    if endpoint.protocol == "http/json":
        return JsonMetricExporter(endpoint)
    try:
        from opentelemetry.exporter.otlp.proto.http import Compression  # an extra, and 24 ms
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    except ImportError:
        raise BadEndpoint(f"OTEL_EXPORTER_OTLP_PROTOCOL: http/protobuf needs more packages: {_EXTRA}") from None
    for name in ("opentelemetry", "urllib3"):  # their lines may show the URL
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False
    return OTLPMetricExporter(
        endpoint=endpoint.url,
        headers=dict(endpoint.headers),
        timeout=endpoint.timeout_s,
        compression=Compression.Gzip if endpoint.is_compressed else Compression.NoCompression,
        certificate_file=endpoint.certificate or None,
        client_certificate_file=endpoint.client_certificate or None,
        client_key_file=endpoint.client_key or None,
    )
