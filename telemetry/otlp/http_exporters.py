"""Exporters of the SDK to a collector: our own for OTLP/JSON, and the official one for OTLP/protobuf in the same shape.

Each makes a bounded number of attempts within the endpoint's timeout, and says of what failed why, in words that hold
no secret.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Final, Protocol

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from telemetry.otlp.collector import Collector, CollectorAnswer
from telemetry.otlp.endpoint import BadEndpoint, Endpoint
from telemetry.otlp.json_encoder import encode_request

ATTEMPTS: Final = 6  # for one request
ABORT_S: Final = 0.5  # for a request to fail after it was given up
_FIRST_PAUSE_S: Final = 0.1
_REFUSED: Final = "it refuses these spans"
_EXTRA: Final = "pip install 'robots-lab[otlp]'"


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
        self._timeout_s = endpoint.timeout_s
        self._collector = Collector(endpoint)
        self._is_over = threading.Event()
        self._using = threading.Lock()  # the connection

    def probe(self) -> None:
        with self._using:
            self.trouble = self._collector.probe().trouble

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Raises nothing: what goes wrong is told by `trouble`."""
        with self._using:
            answer = self._send(encode_request(spans))
        self.trouble = answer.trouble
        self.rejected += answer.rejected
        return SpanExportResult.FAILURE if answer.trouble else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Hang up. Attempts that go on in another thread fail soon, and none is begun."""
        self._is_over.set()
        self._collector.abort()
        if self._using.acquire(timeout=ABORT_S):  # else a step that cannot be aborted; the connection ends with it
            self._collector.close()
            self._using.release()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002
        """Nothing is buffered here."""
        return True

    def _send(self, body: bytes) -> CollectorAnswer:
        deadline, pause_s, answer = (
            time.monotonic() + self._timeout_s,
            _FIRST_PAUSE_S,
            CollectorAnswer("it was not asked"),
        )
        for _ in range(ATTEMPTS):
            left_s = deadline - time.monotonic()
            if left_s <= 0 or self._is_over.is_set():
                break
            answer = self._collector.send(body, left_s)
            wait_s = max(pause_s, answer.retry_after_s)
            if not answer.is_transient or time.monotonic() + wait_s > deadline or self._is_over.wait(wait_s):
                break
            pause_s *= 2
        return answer


class ProtobufExporter(SpanExporter):
    """The official exporter of OTLP/protobuf, which makes its own attempts, and logs what is not to be shown."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Raises BadEndpoint when it is not installed."""
        try:
            from opentelemetry.exporter.otlp.proto.http import Compression  # an extra, and 24 ms
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ImportError:
            raise BadEndpoint(f"OTEL_EXPORTER_OTLP_PROTOCOL: http/protobuf needs more packages: {_EXTRA}") from None
        self.trouble = ""
        self.rejected = 0
        self._collector = Collector(endpoint)
        for name in ("opentelemetry", "urllib3"):  # their lines may show the URL
            logging.getLogger(name).addHandler(logging.NullHandler())
            logging.getLogger(name).propagate = False
        self._exporter: SpanExporter = OTLPSpanExporter(
            endpoint=endpoint.url,
            headers=dict(endpoint.headers),
            timeout=endpoint.timeout_s,
            compression=Compression.Gzip if endpoint.is_compressed else Compression.NoCompression,
            certificate_file=endpoint.certificate or None,
            client_certificate_file=endpoint.client_certificate or None,
            client_key_file=endpoint.client_key or None,
        )

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
