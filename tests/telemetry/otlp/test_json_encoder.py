"""Our OTLP/JSON against the official protobuf encoder: the same request, field by field."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags, TraceState

from telemetry.otlp.json_encoder import encode_request
from telemetry.tracing.spans import Link as OurLink
from telemetry.tracing.spans import Span, SpanEvent, Trace
from telemetry.tracing.spans import SpanKind as OurKind
from tests.support.collector import attributes_of, spans_in
from tests.telemetry.otlp.traces import readable_spans, trace

IDS_IN_HEX = ("traceId", "spanId", "parentSpanId")
TEXT = st.text(max_size=12)
VALUES = st.one_of(TEXT, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))
ATTRIBUTES = st.dictionaries(TEXT, VALUES, max_size=5).map(lambda found: tuple(found.items()))
TIMES = st.integers(0, 2**62 // 1000)
IDS = st.integers(1, 2**64 - 1)
SPANS = st.builds(
    Span,
    trace=st.integers(1, 2**128 - 1),
    span=IDS,
    parent=st.none() | IDS,
    name=TEXT,
    kind=st.sampled_from(OurKind),
    service=st.sampled_from(["r03", "relay:0", "lab", 'r\u0000"é\\']),
    host=st.sampled_from(["", "lab1"]),
    start_us=TIMES,
    end_us=TIMES,
    error=st.sampled_from(["", "lost", "\u2028 bad checksum \U0001f916"]),
    attributes=ATTRIBUTES,
    links=st.lists(st.builds(OurLink, st.integers(1, 2**128 - 1), IDS), max_size=2).map(tuple),
    events=st.lists(st.builds(SpanEvent, TEXT, TIMES, ATTRIBUTES), max_size=2).map(tuple),
)


def ours(spans: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
    """Our text as protobuf's own parser reads it, which refuses what it does not know. Its ids are in base64."""
    request = json.loads(encode_request(spans), object_hook=_with_base64_ids)
    return ParseDict(request, ExportTraceServiceRequest())


def _with_base64_ids(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        key: base64.b64encode(bytes.fromhex(value)).decode() if key in IDS_IN_HEX else value
        for key, value in fields.items()
    }


@settings(max_examples=100, deadline=None)
@given(st.lists(SPANS, max_size=6))
def test_any_spans_of_ours_encode_as_the_official_encoder_does(spans: list[Span]) -> None:
    readable = readable_spans().of(Trace(tuple(spans)))

    assert ours(readable) == encode_spans(readable)


def test_spans_of_a_tracer_encode_as_the_official_encoder_does() -> None:
    # Given spans that the SDK made itself, with all that ours do not use
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "other"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("scope", "1", attributes={"of": "scope"})
    remote = SpanContext(5, 6, True, TraceFlags(1), TraceState([("vendor", "1"), ("other", "2")]))
    with tracer.start_as_current_span("outer", kind=SpanKind.SERVER, links=[Link(remote, {"a": [1.5, 2.5]})]) as outer:
        outer.set_attributes({"texts": ["a", "b"], "none": [], "flags": (True, False), "bytes": b"\x00\xff"})
        outer.add_event("event", {"when": "now"})
        with tracer.start_as_current_span("inner", kind=SpanKind.CLIENT):
            pass
        outer.record_exception(ValueError("x"))
    with provider.get_tracer("").start_as_current_span("third"):
        pass
    spans = exporter.get_finished_spans()

    assert len(spans) == 3
    assert str(ours(spans)) == str(encode_spans(spans))


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_what_json_has_no_number_for_is_a_word(value: float) -> None:
    spans = readable_spans().of(trace())
    spans[0]._attributes = {"x": value}

    assert str(ours(spans)) == str(encode_spans(spans))  # as text, because NaN equals nothing


def test_true_is_not_one() -> None:
    spans = readable_spans().of(trace())
    for value in (1, True, 1.0, "1", True, 1):
        spans[0]._attributes = {"x": value}

        assert str(ours(spans)) == str(encode_spans(spans))


def test_a_span_has_the_place_it_comes_from() -> None:
    [root, send, relay] = spans_in(json.loads(encode_request(readable_spans().of(trace(error="timeout")))))

    assert root["resource"] == {
        "service.namespace": "robots-lab",
        "service.name": "r03",
        "service.instance.id": "7b08e1/r03",
        "service.version": "0.1.0",
        "gossip.run": "7b08e1",
        "host.id": "lab-7b08e1",
        "ip": "lab-7b08e1",
        "gossip.host": "lab1",
    }
    # One host for all: every time is on the server's clock. Where it is not known, it is not said where it lived.
    assert relay["resource"]["host.id"] == root["resource"]["host.id"]
    assert "gossip.host" not in relay["resource"]
    assert root["scope"] == {"name": "robots.lab", "version": "0.1.0"}
    # Ids are hex, whole numbers are strings, and a root has no parent
    assert (root["spanId"], root["startTimeUnixNano"]) == ("0000000000000002", "1795000001000000000")
    assert "parentSpanId" not in root
    assert relay["parentSpanId"] == send["spanId"]
    assert root["status"] == {"code": 2, "message": "timeout"}
    assert attributes_of(root)["error.type"] == "timeout"
    assert attributes_of(send)["gossip.sequence"] == str(2**53 + 1)
    # A parent in another process is remote
    assert (root["flags"], send["flags"], relay["flags"]) == (0x100, 0x100, 0x300)


def test_the_same_trace_makes_the_same_bytes() -> None:
    assert encode_request(readable_spans().of(trace())) == encode_request(readable_spans().of(trace()))
    assert encode_request([]) == b'{"resourceSpans":[]}'


def test_a_span_without_length_leaves_with_the_shortest_one() -> None:
    # Given spans that took no time as far as microseconds tell: Jaeger warns of those as of negative ones
    [root, *_] = spans_in(json.loads(encode_request(readable_spans().of(trace(took_us=0)))))

    assert int(root["endTimeUnixNano"]) - int(root["startTimeUnixNano"]) == 1
