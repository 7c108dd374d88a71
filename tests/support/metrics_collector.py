"""A collector of metrics under test: it decodes OTLP, as JSON and as protobuf. No tests here."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

_IDS = ("traceId", "spanId")


class MetricsCollector:
    """What came: the path and the content of each request. `status` is how it answers, after the statuses `first`;
    `answer` is the content of its answers as JSON."""

    def __init__(self) -> None:
        self.url = ""
        self.status = "200 OK"
        self.first: list[str] = []
        self.answer = b"{}"
        self.came: list[tuple[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        content, kind = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])), environ["CONTENT_TYPE"]
        is_json = kind == "application/json"
        request = json.loads(content) if is_json else as_json(ExportMetricsServiceRequest.FromString(content))
        self.came.append((environ["PATH_INFO"], request))
        start_response(self.first.pop(0) if self.first else self.status, [("Content-Type", kind)])
        return [self.answer if is_json else b""]


class _Silent(WSGIRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        pass


@contextmanager
def metrics_collector() -> Iterator[MetricsCollector]:
    """Within, it answers at its `url`."""
    collector = MetricsCollector()
    server = make_server("127.0.0.1", 0, collector, handler_class=_Silent)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    collector.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def as_json(request: ExportMetricsServiceRequest) -> Any:
    """A protobuf request in OTLP's JSON mapping: as protobuf's own, but ids in hex and enumerations as numbers."""
    return _with_hex_ids(MessageToDict(request, use_integers_for_enums=True))


def _with_hex_ids(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_hex_ids(one) for one in value]
    if isinstance(value, dict):
        return {key: base64.b64decode(one).hex() if key in _IDS else _with_hex_ids(one) for key, one in value.items()}
    return value
