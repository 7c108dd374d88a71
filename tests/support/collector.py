"""A collector of traces under test: an HTTP server that decodes OTLP, as JSON and as protobuf. No tests here."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from telemetry.tracing.spans import Trace

_IDS = ("traceId", "spanId", "parentSpanId")
Request = dict[str, Any]


class Reply(NamedTuple):
    """How the collector answers. `after_s` is how long it thinks."""

    status: int = 200
    content: bytes = b"{}"
    headers: tuple[tuple[str, str], ...] = ()
    after_s: float = 0.0


ACCEPTED = Reply()


@dataclass
class Sink:
    """What came to a collector. `reply` decides how each request is answered."""

    reply: Callable[[int], Reply] = lambda _number: ACCEPTED
    requests: list[tuple[float, dict[str, str], Request]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    url: str = ""
    asked: int = 0
    connections: list[socket.socket] = field(default_factory=list)

    @property
    def accepted(self) -> list[Request]:
        """The requests that hold spans and were answered with 200."""
        return [request for _, _, request in self.requests if request.get("resourceSpans")]

    @property
    def spans(self) -> list[dict[str, Any]]:
        """Every span that was accepted, with its resource's attributes as `resource`."""
        return [span for request in self.accepted for span in spans_in(request)]

    @property
    def accepted_at_us(self) -> dict[str, float]:
        """When each span was accepted, by its id."""
        return {span["spanId"]: at_s * 1e6 for at_s, _, request in self.requests for span in spans_in(request)}


def spans_in(request: Request) -> Iterator[dict[str, Any]]:
    for resource_spans in request.get("resourceSpans", []):
        resource = attributes_of(resource_spans["resource"])
        for scope_spans in resource_spans["scopeSpans"]:
            for span in scope_spans["spans"]:
                yield {**span, "resource": resource, "scope": scope_spans["scope"]}


def attributes_of(holder: dict[str, Any]) -> dict[str, Any]:
    return {pair["key"]: next(iter(pair["value"].values())) for pair in holder.get("attributes", [])}


def canonical(request: ExportTraceServiceRequest) -> Request:
    """A protobuf request in OTLP's JSON mapping: as protobuf's own, but ids in hex and enumerations as numbers."""
    return _with_hex_ids(MessageToDict(request, use_integers_for_enums=True))  # type: ignore[no-any-return]


def _with_hex_ids(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_hex_ids(one) for one in value]
    if isinstance(value, dict):
        return {key: base64.b64decode(one).hex() if key in _IDS else _with_hex_ids(one) for key, one in value.items()}
    return value


def decode(content: bytes, kind: str) -> Request:
    """A request's content, whatever its protocol."""
    if kind == "application/x-protobuf":
        return canonical(ExportTraceServiceRequest.FromString(content))
    return dict(json.loads(content))


def collecting(sink: Sink) -> Iterator[Sink]:
    """Serve the sink on a port of its own; for a fixture."""

    class CollectorHandler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            sink.connections.append(self.connection)

        def answer(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            content = gzip.decompress(content) if self.headers["content-encoding"] == "gzip" else content
            sink.paths.append(self.path)
            number, sink.asked = sink.asked, sink.asked + 1
            reply = sink.reply(number)
            if reply.after_s:
                time.sleep(reply.after_s)
            kind = self.headers["content-type"]
            if reply.status == 200:
                headers = {name.lower(): value for name, value in self.headers.items()}
                sink.requests.append((time.time(), headers, decode(content, kind)))
            is_plain = reply.content == b"{}" and kind == "application/x-protobuf"
            answer = b"" if is_plain else reply.content
            self.send_response(reply.status)
            for name, value in (("content-type", kind), ("content-length", str(len(answer))), *reply.headers):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_arguments: object) -> None:
            pass

    handler = type("Handler", (CollectorHandler,), {"do_POST": CollectorHandler.answer})

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_arguments: object) -> None:
            pass  # a client that gives up is expected

    server = Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    sink.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield sink
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def defects(traces: list[list[dict[str, Any]]]) -> list[str]:
    """What is wrong with traces as a viewer would show them: no root or several, orphans, duplicate ids."""
    found = []
    for spans in traces:
        ids = [span["spanId"] for span in spans]
        roots = [span for span in spans if "parentSpanId" not in span]
        orphans = [span["name"] for span in spans if "parentSpanId" in span and span["parentSpanId"] not in set(ids)]
        if len(roots) != 1 or orphans or len(set(ids)) != len(ids):
            found.append(f"{spans[0]['traceId']}: roots {len(roots)}, orphans {orphans}, ids {len(ids)}")
    return found


def by_trace(spans: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The spans of each trace together."""
    traces: dict[str, list[dict[str, Any]]] = {}
    for span in spans:
        traces.setdefault(span["traceId"], []).append(span)
    return list(traces.values())


def id_of(trace: Trace) -> str:
    """A trace's id as a collector shows it."""
    return f"{trace.spans[0].trace:032x}"
