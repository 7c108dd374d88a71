"""Exporters of spans to a collector: our own for OTLP/JSON, and the official one for OTLP/protobuf in the same shape.

Each makes a bounded number of attempts within the endpoint's timeout, and says of what failed why, in words that hold
no secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from telemetry.otlp.collector import Collector
from telemetry.otlp.endpoint import Endpoint
from telemetry.otlp.json_encoder import encode_request
from telemetry.otlp.official import official_exporter

_REFUSED: Final = "it refuses these spans"


class Destination(Protocol):
    """An exporter that reports on itself. `trouble`: why the last request failed, empty when it was accepted;
    `rejected`: spans that were refused within requests that were accepted."""

    trouble: str
    rejected: int

    def probe(self) -> None:
        """Find out, once and soon, whether there is anything to export to; `trouble` has the result."""
        ...

    def export(self, spans: Sequence[ReadableSpan], /) -> SpanExportResult: ...

    def shutdown(self) -> None: ...


def destination(endpoint: Endpoint) -> Destination:
    """The exporter for an endpoint. Raises BadEndpoint."""
    return JsonExporter(endpoint) if endpoint.protocol == "http/json" else ProtobufExporter(endpoint)


class JsonExporter(SpanExporter):
    """Exports spans as OTLP/JSON, one request a batch."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Raises BadEndpoint."""
        self.trouble = ""
        self.rejected = 0
        self._collector = Collector(endpoint)

    def probe(self) -> None:
        self.trouble = self._collector.probe().trouble

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Raises nothing: what goes wrong is told by `trouble`."""
        answer = self._collector.deliver(encode_request(spans))
        self.trouble = answer.trouble
        self.rejected += answer.rejected
        return SpanExportResult.FAILURE if answer.trouble else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Hang up. Attempts that go on in another thread fail soon, and none is begun."""
        self._collector.shut_down()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002
        """Nothing is buffered here."""
        return True


class ProtobufExporter(SpanExporter):
    """The official exporter of OTLP/protobuf, which makes its own attempts."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Raises BadEndpoint."""
        self.trouble = ""
        self.rejected = 0
        self._exporter: SpanExporter = official_exporter(endpoint)
        self._collector = Collector(endpoint)

    def probe(self) -> None:
        self.trouble = self._collector.probe().trouble

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        self.trouble = "" if result is SpanExportResult.SUCCESS else (self._collector.probe().trouble or _REFUSED)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002
        """Nothing is buffered here."""
        return True
