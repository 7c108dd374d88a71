"""OpenTelemetry's own exporters of OTLP/protobuf, for spans and for metrics: how they are loaded and set up.

They make their own attempts. They log what is not to be shown, so nothing that they log is printed.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any, Final

from telemetry.otlp.endpoint import Endpoint
from telemetry.otlp.usable import OFFICIAL, demand_package

_EXPORTERS: Final = {
    "traces": ("trace_exporter", "OTLPSpanExporter"),
    "metrics": ("metric_exporter", "OTLPMetricExporter"),
}


def official_exporter(endpoint: Endpoint) -> Any:
    """A SpanExporter or a MetricExporter, by the endpoint's signal. Raises BadEndpoint when it is not installed."""
    demand_package(endpoint)
    module, name = _EXPORTERS[endpoint.signal]
    compressions = import_module(OFFICIAL).Compression  # an extra, and 24 ms
    exporter = getattr(import_module(f"{OFFICIAL}.{module}"), name)
    for logger in ("opentelemetry", "urllib3"):  # their lines may show the URL
        logging.getLogger(logger).addHandler(logging.NullHandler())
        logging.getLogger(logger).propagate = False
    return exporter(
        endpoint=endpoint.url,
        headers=dict(endpoint.headers),
        timeout=endpoint.timeout_s,
        compression=compressions.Gzip if endpoint.is_compressed else compressions.NoCompression,
        certificate_file=endpoint.certificate or None,
        client_certificate_file=endpoint.client_certificate or None,
        client_key_file=endpoint.client_key or None,
    )
