"""Metrics as OpenTelemetry has them: the SDK's data classes, our OTLP/JSON against the official encoder, a push."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO

import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics as official_encode
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, MetricExportResult

from telemetry.metrics.otlp import metrics_data
from telemetry.metrics.otlp_json import encode_metrics
from telemetry.metrics.push import pusher_of
from telemetry.metrics.table import METRICS
from telemetry.otlp.endpoint import BadEndpoint
from telemetry.tracing.ids import exchange_trace_id, span_id
from tests.support.metrics_collector import MetricsCollector, as_json, metrics_collector
from tests.support.waiting import await_true
from tests.telemetry.metrics.story import EXCHANGE, RUN, SEED, ZERO_US, folded, whole_story

RESOURCE = {"service.name": "lab", "gossip.run": RUN}
NOW_US = ZERO_US + 1_000_000
SNAPSHOT = folded(whole_story(), missed=2)
DATA = metrics_data(SNAPSHOT, RESOURCE, NOW_US)


def test_our_json_equals_the_official_encoders_request_field_by_field() -> None:
    assert json.loads(encode_metrics(DATA)) == as_json(official_encode(DATA))


def test_every_metric_of_the_table_is_there_with_its_unit_and_all_are_cumulative() -> None:
    [resource] = json.loads(encode_metrics(DATA))["resourceMetrics"]
    [scope] = resource["scopeMetrics"]

    assert [(one["name"], one["unit"]) for one in scope["metrics"]] == [(one.name, one.unit) for one in METRICS]
    sums = [one["sum"] for one in scope["metrics"] if "sum" in one] + [
        one["histogram"] for one in scope["metrics"] if "histogram" in one
    ]
    assert {one["aggregationTemporality"] for one in sums} == {2}
    begun = {point["startTimeUnixNano"] for one in sums for point in one["dataPoints"]}
    assert begun == {str(ZERO_US * 1000)}


def test_an_exemplar_keeps_the_ids_of_its_trace() -> None:
    metrics = json.loads(encode_metrics(DATA))["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    [exchange] = [one for one in metrics if one["name"] == "gossip.exchange.duration"]

    [exemplar] = exchange["histogram"]["dataPoints"][0]["exemplars"]

    trace = exchange_trace_id(RUN, SEED, EXCHANGE)
    assert exemplar == {
        "timeUnixNano": str((ZERO_US + 51_000) * 1000),
        "asDouble": 0.0415,
        "spanId": f"{span_id(trace, 'exchange'):016x}",
        "traceId": f"{trace:032x}",
    }


def test_any_exporter_of_the_sdk_takes_them() -> None:
    out = StringIO()

    assert ConsoleMetricExporter(out=out).export(DATA) is MetricExportResult.SUCCESS
    assert "gossip.exchange.duration" in out.getvalue()


def test_values_of_a_run_whose_clock_is_ahead_do_not_begin_after_they_end() -> None:
    data = metrics_data(SNAPSHOT, RESOURCE, ZERO_US - 1)

    [resource] = data.resource_metrics
    points = [point for metric in resource.scope_metrics[0].metrics for point in metric.data.data_points]
    assert all(point.start_time_unix_nano <= point.time_unix_nano for point in points)


@pytest.fixture
def collector() -> Iterator[MetricsCollector]:
    with metrics_collector() as collector:
        yield collector


@pytest.mark.parametrize("protocol", ["http/json", "http/protobuf"])
def test_a_push_brings_them_to_the_collector_that_the_environment_names(
    collector: MetricsCollector, protocol: str
) -> None:
    lines: list[str] = []
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    pusher = pusher_of(environment, lines.append)
    assert pusher is not None

    pusher.push(SNAPSHOT, RESOURCE)
    pusher.close()

    [(path, request)] = collector.came
    metrics = request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    assert (path, [one["name"] for one in metrics], lines) == ("/v1/metrics", [one.name for one in METRICS], [])


def test_an_endpoint_for_metrics_alone_is_taken_as_it_is(collector: MetricsCollector) -> None:
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{collector.url}/mine",
    }
    pusher = pusher_of(environment, lambda _line: None)
    assert pusher is not None

    pusher.push(SNAPSHOT, RESOURCE)
    pusher.close()

    assert [path for path, _ in collector.came] == ["/mine"]


def test_a_collector_that_is_busy_is_asked_again(collector: MetricsCollector) -> None:
    # Given a collector that refuses the first two requests, for now
    lines: list[str] = []
    collector.first = ["503 Service Unavailable", "429 Too Many Requests"]
    pusher = pusher_of({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}, lines.append)
    assert pusher is not None

    pusher.push(SNAPSHOT, RESOURCE)
    pusher.close()

    # Then the values arrive all the same
    assert (len(collector.came), lines) == (3, [])


def test_data_points_that_a_collector_rejects_are_reported(collector: MetricsCollector) -> None:
    lines: list[str] = []
    collector.answer = json.dumps({"partialSuccess": {"rejectedDataPoints": "5", "errorMessage": "no"}}).encode()
    pusher = pusher_of({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}, lines.append)
    assert pusher is not None

    pusher.push(SNAPSHOT, RESOURCE)
    pusher.close()

    assert len(collector.came) == 1
    assert lines == [f"metrics: the collector at {collector.url} is in trouble: it rejects 5 data points"]


@pytest.mark.parametrize("protocol", ["http/json", "http/protobuf"])
def test_a_certificate_that_cannot_be_read_is_an_error_before_the_first_push(protocol: str) -> None:
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://127.0.0.1:1",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "/nope",
    }

    with pytest.raises(BadEndpoint, match="OTEL_EXPORTER_OTLP_CERTIFICATE"):
        pusher_of(environment, lambda _line: None)


def test_a_collector_in_trouble_is_reported_in_one_line_and_no_more(collector: MetricsCollector) -> None:
    lines: list[str] = []
    collector.status = "503 Service Unavailable"
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_TIMEOUT": "300"}
    pusher = pusher_of(environment, lines.append)
    assert pusher is not None

    pusher.push(SNAPSHOT, RESOURCE)
    pusher.push(SNAPSHOT, RESOURCE)
    pusher.close()

    assert lines == [f"metrics: the collector at {collector.url} is in trouble: it answers 503 Service Unavailable"]


def test_a_dead_collector_is_reported_and_raises_nothing(collector: MetricsCollector) -> None:
    lines: list[str] = []
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TIMEOUT": "300"}
    pusher = pusher_of(environment, lines.append)
    assert pusher is not None

    pusher.push(SNAPSHOT, RESOURCE)
    pusher.close()

    assert lines == ["metrics: the collector at http://127.0.0.1:1 is in trouble: connection refused"]


def test_pushes_come_at_the_interval_of_the_environment(collector: MetricsCollector) -> None:
    # Given one pusher with the interval of OpenTelemetry, and one with a millisecond
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    slow = pusher_of(environment, lambda _line: None)
    fast = pusher_of(environment | {"OTEL_METRIC_EXPORT_INTERVAL": "1"}, lambda _line: None)
    assert slow is not None
    assert fast is not None

    # When both are asked again and again whether a push is due
    def pushes() -> int:
        slow.push_if_due(lambda: SNAPSHOT, {"from": "slow"})
        fast.push_if_due(lambda: SNAPSHOT, {"from": "fast"})
        return len(collector.came)

    await_true(lambda: pushes() >= 3)
    slow.close()
    fast.close()

    # Then only the fast one has pushed
    resources = [request["resourceMetrics"][0]["resource"]["attributes"][0] for _, request in collector.came]
    assert {resource["value"]["stringValue"] for resource in resources} == {"fast"}


@pytest.mark.parametrize(
    "environment",
    [{}, {"OTEL_METRICS_EXPORTER": "none"}, {"OTEL_SDK_DISABLED": "true"}],
    ids=["no endpoint", "metrics off", "all off"],
)
def test_nothing_is_pushed_where_nothing_is_wanted(environment: dict[str, str]) -> None:
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"} if environment else {}

    assert pusher_of(endpoint | environment, lambda _line: None) is None


@pytest.mark.parametrize("interval", ["0", "soon", "-5"])
def test_an_interval_that_is_none_is_an_error_that_names_it(interval: str) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_METRIC_EXPORT_INTERVAL": interval}

    with pytest.raises(BadEndpoint, match="OTEL_METRIC_EXPORT_INTERVAL"):
        pusher_of(environment, lambda _line: None)
