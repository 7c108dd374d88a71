"""The collector that is named: one that answers, one that is not there, and one that cannot be used."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.doctor.collector import check_collector
from tests.support.collector import Reply, Sink, collecting

NAME = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture
def sink() -> Iterator[Sink]:
    yield from collecting(Sink())


def test_without_a_collector_traces_stay_in_the_record() -> None:
    for environment in ({}, {NAME: "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}):
        check = check_collector(environment)

        assert (check.state, check.remedy) == ("ok", "")
        assert "none is named" in check.text


def test_a_collector_that_answers_is_asked_for_both_signals(sink: Sink) -> None:
    check = check_collector({NAME: sink.url})

    assert check.state == "ok"
    assert check.text == f"traces to {sink.url}: it answers; metrics to {sink.url}: it answers"
    assert sorted(sink.paths) == ["/v1/metrics", "/v1/traces"]
    assert sink.spans == []


def test_a_collector_that_takes_nothing_is_a_warning_because_a_run_goes_on_without(sink: Sink) -> None:
    sink.reply = lambda number: Reply(503 if number == 0 else 200)

    check = check_collector({NAME: sink.url})

    assert check.state == "warning"
    assert "it answers 503" in check.text
    assert check.remedy.startswith("start it")


def test_a_collector_that_is_not_there_is_a_warning_without_its_secrets() -> None:
    check = check_collector({NAME: "http://me:hidden@127.0.0.1:1/hidden"})

    assert check.state == "warning"
    assert check.text.startswith("traces to http://127.0.0.1:1: ")
    assert "hidden" not in check.text


def test_an_endpoint_that_a_run_would_refuse_is_a_fault() -> None:
    check = check_collector({NAME: "grpc://h:4317"})

    assert (check.state, check.text.partition(":")[0]) == ("fault", NAME)
