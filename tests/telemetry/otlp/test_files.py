"""Traces in files: what Jaeger's upload reads, line by line; and which exchanges are chosen."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from telemetry.otlp.file_exporter import FileExporter
from telemetry.otlp.json_encoder import encode_request
from telemetry.otlp.tail import EvenSample, choose
from telemetry.tracing.spans import Trace
from tests.support.collector import spans_in
from tests.telemetry.otlp.traces import readable_spans, trace


def test_a_file_holds_one_request_a_line(tmp_path: Path) -> None:
    # Given a file that stands there already
    path = tmp_path / "exchanges.jsonl"
    path.write_text("old")
    traces = [trace(number) for number in range(3)]
    # When traces are written
    with FileExporter(path) as exporter:
        for one in traces:
            exporter.export(readable_spans().of(one))
        exporter.export([])
        assert path.read_text() == "old"  # until all is written
    # Then each line is an object with `resourceSpans`, and holds its trace
    lines = path.read_bytes().splitlines()
    assert [list(json.loads(line)) for line in lines] == [["resourceSpans"]] * 3
    assert lines == [encode_request(readable_spans().of(one)) for one in traces]
    assert {span["traceId"] for span in spans_in(json.loads(lines[0]))} == {f"{1:032x}"}
    assert [one.name for one in tmp_path.iterdir()] == ["exchanges.jsonl"]


def test_a_file_that_is_not_finished_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "exchanges.jsonl"
    path.write_text("old")

    def write_half() -> None:
        with FileExporter(path) as exporter:
            exporter.export(readable_spans().of(trace()))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()

    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["exchanges.jsonl"]


def numbers(traces: list[Trace]) -> list[int]:
    return [one.spans[0].trace - 1 for one in traces]


def test_a_few_exchanges_are_all_chosen_in_their_order() -> None:
    traces = [trace(number, error="timeout" * (number % 3 == 0)) for number in range(1000)]

    choice = choose(iter(traces))

    assert choice.is_all
    assert choice.traces == traces


def test_of_many_all_that_failed_the_slowest_and_those_that_taught_are_chosen() -> None:
    # Given 20,000 exchanges of which 300 failed, 200 taught something and 100 were slow
    traces = [
        trace(
            number,
            took_us=90_000 if number % 200 == 7 else 30_000,
            error="timeout" if number % 67 == 1 else "",
            has_taught=number % 100 == 2,
        )
        for number in range(20_000)
    ]
    failed = {number for number in range(20_000) if number % 67 == 1}
    # When a thousand are chosen
    choice = choose(iter(traces))
    chosen = numbers(choice.traces)
    # Then these are among them,
    assert (len(chosen), choice.total, choice.is_all) == (1000, 20_000, False)
    assert chosen == sorted(set(chosen))
    assert failed <= set(chosen)
    assert {number for number in range(20_000) if number % 200 == 7} <= set(chosen)
    assert {number for number in range(20_000) if number % 100 == 2} <= set(chosen)
    # and the rest is spread evenly over the run
    rest = [number for number in chosen if number not in failed and number % 200 != 7 and number % 100 != 2]
    assert len(rest) > 300
    counts = [sum(start <= number < start + 2000 for number in rest) for start in range(0, 20_000, 2000)]
    assert max(counts) <= 1.5 * min(counts)


def test_when_too_many_failed_an_even_share_of_them_is_chosen() -> None:
    traces = [trace(number, error="timeout") for number in range(50)]

    assert numbers(choose(traces, most=10).traces) == [0, 4, 8, 12, 20, 24, 28, 36, 40, 44]


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 19, 20, 21, 1000, 4097])
def test_a_sample_is_even_whatever_comes(count: int) -> None:
    sample = EvenSample(10)
    for number in range(count):
        sample.add(number, trace(number))

    kept = [number for number, _ in sample.at_most(10)]

    assert len(kept) == min(count, 10)
    gaps = {after - before for before, after in pairwise(kept)}
    assert not gaps or max(gaps) <= 2 * min(gaps) + 1
