"""Metrics as Prometheus reads them: a golden text, both formats by its own parsers, over HTTP with negotiation."""

from __future__ import annotations

import gzip
import socket
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from telemetry.metrics.prometheus import prometheus_name, served, text
from telemetry.metrics.table import METRICS, Instrument
from telemetry.tracing.ids import exchange_trace_id, span_id
from tests.telemetry.metrics.story import EXCHANGE, RUN, SEED, ZERO_US, folded, whole_story

GOLDEN = Path(__file__).parent / "story.txt"
RESOURCE = {"service.name": "lab", "gossip.run": RUN}
SNAPSHOT = folded(whole_story(), missed=2)
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def test_the_text_of_a_story_is_the_golden_one() -> None:
    assert text(lambda: SNAPSHOT, RESOURCE).splitlines() == GOLDEN.read_text().splitlines()


def test_names_end_with_their_unit_and_a_counter_with_total() -> None:
    names = {metric.name: prometheus_name(metric) for metric in METRICS}

    assert names["gossip.relay.messages"] == "gossip_relay_messages_total"
    assert names["gossip.relay.lag"] == "gossip_relay_lag_seconds"
    assert names["gossip.robot.parts"] == "gossip_robot_parts"
    assert names["gossip.anomalies"] == "gossip_anomalies"


def test_prometheus_own_parsers_read_every_metric_with_its_type() -> None:
    types = {Instrument.COUNTER: "counter", Instrument.HISTOGRAM: "histogram"}
    with served(lambda: SNAPSHOT, RESOURCE, "127.0.0.1", 0) as port:
        found = {family.name: family.type for family in openmetrics_families(get(port, OPENMETRICS)[0])}
        plain = {family.name: family.type for family in text_families(get(port, "text/plain")[0])}

    expected = {
        prometheus_name(metric).removesuffix("_total"): types.get(metric.instrument, "gauge") for metric in METRICS
    }
    assert found == {**expected, "target": "info"}
    assert plain == {**expected, "target_info": "gauge"}


def test_an_exemplar_stands_in_its_bucket_in_openmetrics_alone() -> None:
    # Given a story with one exchange of 41.5 ms
    with served(lambda: SNAPSHOT, RESOURCE, "127.0.0.1", 0) as port:
        openmetrics, plain = get(port, OPENMETRICS)[0], get(port, "text/plain")[0]

    # Then its bucket has an exemplar with the ids of its trace's root
    found = [
        (sample.labels["le"], sample.exemplar)
        for family in openmetrics_families(openmetrics)
        for sample in family.samples
        if sample.exemplar is not None
    ]
    trace = exchange_trace_id(RUN, SEED, EXCHANGE)
    [(bound, exemplar)] = found
    assert bound == "0.05"
    assert exemplar.labels == {"trace_id": f"{trace:032x}", "span_id": f"{span_id(trace, 'exchange'):016x}"}
    assert (exemplar.value, float(exemplar.timestamp)) == (0.0415, pytest.approx((ZERO_US + 51_000) / 1e6))
    assert "# {" not in plain


def test_the_format_is_the_one_that_is_asked_for_and_may_be_compressed() -> None:
    with served(lambda: SNAPSHOT, RESOURCE, "127.0.0.1", 0) as port:
        kinds = [get(port, accept)[1] for accept in ("*/*", OPENMETRICS, f"{OPENMETRICS},text/plain;q=0.5")]
        compressed = get(port, "*/*", encoding="gzip")[0]
        plain = get(port, "*/*")[0]

    assert [kind.split(";")[0] for kind in kinds] == ["text/plain"] + 2 * ["application/openmetrics-text"]
    assert compressed == plain == text(lambda: SNAPSHOT, RESOURCE)


def test_a_port_that_is_taken_is_an_error_and_one_that_was_served_is_free_again() -> None:
    with (
        served(lambda: SNAPSHOT, RESOURCE, "127.0.0.1", 0) as port,
        pytest.raises(OSError, match="in use"),
        served(lambda: SNAPSHOT, RESOURCE, "127.0.0.1", port),
    ):
        pass
    with socket.create_server(("127.0.0.1", port)):
        pass


def get(port: int, accept: str, encoding: str = "identity") -> tuple[str, str]:
    """Content and type of what is served there."""
    headers = {"Accept": accept, "Accept-Encoding": encoding}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        content = response.read()
        if response.headers["content-encoding"] == "gzip":
            content = gzip.decompress(content)
        return content.decode(), response.headers["content-type"]
