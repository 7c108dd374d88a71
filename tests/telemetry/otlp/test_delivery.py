"""Delivery to a collector that is well, dead, slow, refusing or none: its feeder never waits, and all is counted."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from telemetry.otlp.collector import Collector
from telemetry.otlp.delivered import Delivered
from telemetry.otlp.delivery import TraceDelivery
from telemetry.otlp.endpoint import BadEndpoint, Endpoint
from telemetry.otlp.http_exporters import destination
from telemetry.otlp.readable import ReadableSpans
from telemetry.tracing.spans import Trace
from tests.support.collector import Reply, Sink, by_trace, defects
from tests.support.waiting import await_true
from tests.telemetry.otlp.traces import readable_spans, trace

SECRET = "hunter2"
PROTOCOLS = ("http/json", "http/protobuf")


def endpoint(url: str, protocol: str = "http/json", timeout_s: float = 0.4, is_compressed: bool = False) -> Endpoint:
    return Endpoint(
        f"{url}/v1/traces",
        (("x-key", SECRET),),
        timeout_s,
        protocol,
        is_compressed,  # type: ignore[arg-type]
    )


class Case:
    """A delivery, and what it reported."""

    def __init__(self, where: Endpoint, room: int = 50_000) -> None:
        self.lines: list[str] = []
        self.delivery = TraceDelivery(destination(where), readable_spans(), self.lines.append, room)

    def put(self, *traces: Trace) -> float:
        """How long it took, in seconds."""
        began = time.monotonic()
        for one in traces:
            self.delivery.put(one)
        return time.monotonic() - began

    def close(self, within_s: float = 5.0) -> Delivered:
        return self.delivery.close(within_s)


@pytest.fixture
def dead() -> Iterator[str]:
    """The URL of a port that is taken, and where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_all_arrives_whatever_the_protocol(sink: Sink, protocol: str, is_compressed: bool) -> None:
    # Given some traces of which some are larger than a request
    case = Case(endpoint(sink.url, protocol, timeout_s=5, is_compressed=is_compressed))
    traces = [trace(number, has_taught=number % 2 == 0) for number in range(400)]
    # When they are delivered
    case.put(*traces)
    delivered = case.close()
    # Then each span arrives once, and each trace is whole
    total = sum(len(one.spans) for one in traces)
    assert delivered == Delivered(total, 0, "")
    assert len(sink.spans) == total
    assert len(by_trace(sink.spans)) == 400
    assert defects(by_trace(sink.spans)) == []
    assert case.lines == []
    # And secrets went where they belong, after one probe
    assert {headers["x-key"] for _, headers, _ in sink.requests} == {SECRET}
    assert {headers.get("content-encoding") for _, headers, _ in sink.requests} == {"gzip" if is_compressed else None}
    assert set(sink.paths) == {"/v1/traces"}
    assert len(sink.requests) - len(sink.accepted) == 1


def test_both_protocols_carry_the_same(sink: Sink) -> None:
    for protocol in PROTOCOLS:
        case = Case(endpoint(sink.url, protocol, timeout_s=5))
        case.put(trace(error="timeout", has_taught=True))
        case.close()

    first, second = sink.accepted
    assert first == second


def always(reply: Reply) -> Callable[[int], Reply]:
    return lambda _number: reply


TROUBLES = {
    "401": (Reply(401), "it answers 401 Unauthorized"),
    "404": (Reply(404, SECRET.encode()), "it answers 404 Not Found"),
    "503": (Reply(503), "it answers 503 Service Unavailable"),
    "299": (Reply(299), "it answers 299"),
    "redirect": (Reply(301, b"", (("location", f"http://{SECRET}"),)), "it answers 301 Moved Permanently"),
    "a web page": (Reply(200, b"<html>welcome"), "it answers, but not as a collector does"),
    "a list": (Reply(200, b"[]"), "it answers, but not as a collector does"),
    "slow": (Reply(after_s=3.0), "it does not answer in time"),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_a_collector_in_trouble_is_reported_in_one_line_and_its_spans_are_counted(sink: Sink, name: str) -> None:
    reply, trouble = TROUBLES[name]
    sink.reply = always(reply)
    case = Case(endpoint(sink.url))
    # When many traces are put
    took_s = case.put(*[trace(number) for number in range(500)])
    await_true(lambda: case.lines)
    began = time.monotonic()
    delivered = case.close()
    # Then neither the feeder nor the end has waited for it
    assert took_s < 0.3
    assert time.monotonic() - began < 1.5
    # And every span is counted, and the reason is told once, in words of ours
    assert delivered == Delivered(0, 1500, trouble)
    assert case.lines == [trouble]
    assert SECRET not in delivered.line("http://x")


def test_a_dead_collector(dead: str) -> None:
    case = Case(endpoint(dead))

    case.put(trace())
    delivered = case.close()

    assert delivered == Delivered(0, 3, "connection refused")
    assert case.lines == ["connection refused"]
    assert delivered.line(dead) == f"traces: 0 spans accepted at {dead}, 3 dropped (connection refused)"


@pytest.mark.parametrize(
    ("answer", "trouble"), [(b"\x00\xff garbage\r\n\r\n", "what it answers is not HTTP"), (b"", "it hangs up")]
)
def test_a_server_that_is_none(answer: bytes, trouble: str) -> None:
    # Given something else behind the port
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        case = Case(endpoint(f"http://127.0.0.1:{server.getsockname()[1]}"))
        case.put(trace())
        delivered = case.close()
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)

    assert delivered == Delivered(0, 3, trouble)
    assert case.lines == [trouble]


def test_the_official_exporter_in_trouble_reports_no_more_than_ours(
    dead: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    case = Case(endpoint(f"{dead}/{SECRET}", "http/protobuf"))

    case.put(trace())
    delivered = case.close()

    assert (delivered.accepted, delivered.dropped, case.lines) == (0, 3, ["connection refused"])
    assert SECRET not in caplog.text + str(capsys.readouterr())


def test_a_collector_that_comes_back_gets_what_waited(sink: Sink) -> None:
    # Given a collector that refuses the probe and two requests, for now
    sink.reply = lambda number: Reply(503) if number < 3 else Reply()
    case = Case(endpoint(sink.url, timeout_s=5))

    case.put(trace())
    await_true(lambda: sink.spans)

    assert case.close() == Delivered(3, 0, "")
    assert case.lines == ["it answers 503 Service Unavailable"]


def test_retry_after_is_respected(sink: Sink) -> None:
    asked_at: list[float] = []

    def reply(number: int) -> Reply:
        asked_at.append(time.monotonic())
        return Reply(429, b"", (("retry-after", "1"),)) if number == 1 else Reply()

    sink.reply = reply
    case = Case(endpoint(sink.url, timeout_s=5))
    case.put(trace())
    await_true(lambda: sink.spans)

    assert asked_at[2] - asked_at[1] >= 1.0
    assert case.close() == Delivered(3, 0, "")


def test_a_request_is_tried_a_bounded_number_of_times(sink: Sink) -> None:
    sink.reply = always(Reply(503))
    case = Case(endpoint(sink.url, timeout_s=60))

    case.put(trace())
    began = time.monotonic()
    await_true(lambda: sink.asked >= 7)
    delivered = case.close()

    assert time.monotonic() - began < 10
    assert (sink.asked, delivered.dropped) == (7, 3)  # a probe and six attempts


def test_spans_that_a_collector_rejects_are_no_accepted_ones(sink: Sink) -> None:
    answer = json.dumps({"partialSuccess": {"rejectedSpans": "2", "errorMessage": SECRET}}).encode()
    sink.reply = lambda number: Reply(200, answer if number else b"{}")
    case = Case(endpoint(sink.url))

    case.put(trace())

    assert case.close() == Delivered(1, 2, "it rejects some of them")


def test_what_finds_no_room_is_dropped_and_the_feeder_goes_on(sink: Sink) -> None:
    sink.reply = always(Reply(after_s=0.5))
    case = Case(endpoint(sink.url, timeout_s=5), room=30)

    took_s = case.put(*[trace(number) for number in range(1000)])
    delivered = case.close()

    assert took_s < 0.4
    assert delivered == Delivered(30, 2970, "it is too slow")
    assert len(sink.spans) == 30


def test_a_push_waits_for_room_and_loses_nothing(sink: Sink) -> None:
    case = Case(endpoint(sink.url, timeout_s=5), room=30)

    for number in range(100):
        case.delivery.put_when_there_is_room(trace(number))

    assert case.close() == Delivered(300, 0, "")


def test_an_idle_connection_that_was_closed_is_no_trouble(sink: Sink) -> None:
    sink.reply = always(Reply(200, b"{}", (("connection", "keep-alive"),)))
    case = Case(endpoint(sink.url, timeout_s=5))
    case.put(trace(1))
    await_true(lambda: len(sink.spans) == 3)
    # When the server hangs up between two requests, as it may
    for connection in sink.connections:
        if connection.fileno() >= 0:  # that of the probe is closed
            connection.shutdown(socket.SHUT_RDWR)
    case.put(trace(2))

    assert case.close() == Delivered(6, 0, "")
    assert case.lines == []


def test_an_exporter_with_a_bug_loses_its_spans_and_no_others(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(endpoint(sink.url, timeout_s=5))
    case.put(trace(1))
    await_true(lambda: sink.spans)
    with monkeypatch.context() as patch:
        patch.setattr("telemetry.otlp.http_exporters.encode_request", lambda _spans: 1 / 0)
        case.put(trace(2))
        await_true(lambda: case.lines)
    case.put(trace(3))

    assert case.close() == Delivered(6, 3, "the exporter failed: ZeroDivisionError")


def test_a_bug_before_the_exporter_keeps_no_feeder_waiting(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given room for one trace, and spans of which the first three cannot be made
    made, calls = ReadableSpans.of, count()
    monkeypatch.setattr(ReadableSpans, "of", lambda *given: made(*given) if next(calls) >= 3 else 1 / 0)
    case = Case(endpoint(sink.url, timeout_s=5), room=3)
    # When one is put after the other
    for number in range(4):
        case.delivery.put_when_there_is_room(trace(number))
    # Then each was counted, the reason was told once, and the last one arrives
    assert case.close() == Delivered(3, 9, "the exporter failed: ZeroDivisionError")
    assert case.lines == ["the exporter failed: ZeroDivisionError"]


def test_a_probe_and_a_reporter_that_fail_are_not_the_end_of_delivery(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an exporter whose probe has a bug, and a report that no one reads any more
    monkeypatch.setattr(Collector, "probe", lambda _self: 1 / 0)

    def report(_line: str) -> None:
        raise BrokenPipeError

    delivery = TraceDelivery(destination(endpoint(sink.url, timeout_s=5)), readable_spans(), report, 3)
    for number in range(3):
        delivery.put_when_there_is_room(trace(number))

    assert delivery.close(5.0) == Delivered(9, 0, "")


def test_what_waits_counts_as_dropped_until_it_is_delivered(sink: Sink) -> None:
    may_answer = threading.Event()
    sink.reply = lambda number: Reply() if not number or may_answer.wait(30) else Reply(503)
    case = Case(endpoint(sink.url, timeout_s=30))

    case.put(trace())

    assert case.delivery.so_far() == Delivered(0, 3, "it is too slow")
    may_answer.set()
    assert case.close() == case.delivery.so_far() == Delivered(3, 0, "")


def test_what_a_follower_did_not_get_is_reported() -> None:
    delivered = Delivered(3, 0, "", missed=2, is_cut=True) + Delivered(1, 1, "it hangs up")

    assert delivered.line("http://lab") == (
        "traces: 4 spans accepted at http://lab, 1 dropped (it hangs up); 2 events never came to their follower; "
        "their follower had no time to read the last events"
    )


def test_any_exporter_of_the_sdk_takes_our_spans() -> None:
    exporter: SpanExporter = InMemorySpanExporter()

    exporter.export(readable_spans().of(trace(has_taught=True)))

    assert isinstance(exporter, InMemorySpanExporter)
    assert [span.name for span in exporter.get_finished_spans()] == [
        *("exchange", "send summary", "relay summary", "merge")
    ]


def test_protobuf_without_its_package_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.exporter.otlp.proto.http", None)

    with pytest.raises(BadEndpoint, match=r"OTEL_EXPORTER_OTLP_PROTOCOL: .* pip install 'robots-lab\[otlp\]'"):
        destination(endpoint("http://lab", "http/protobuf"))
