"""Traces of recorded and simulated runs on their way out: what is written, pushed, and loaded for that."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.lifecycle.tracing import search_url, trace_places
from telemetry.otlp.endpoint import endpoint_of
from telemetry.record.reader import RecordReader
from telemetry.tracing.exchanges import traces_of
from tests.support.checkout import ROOT
from tests.support.collector import Reply, Sink, by_trace, collecting, defects, id_of, spans_in

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture
def sink() -> Iterator[Sink]:
    yield from collecting(Sink())


def robots(place: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return python(place, "-m", "deploy", *arguments, **variables)


def python(place: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ROBOTS_", "OTEL_"))}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=place,
        env={**clean, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def simulated(place: Path, *arguments: str, **variables: str) -> tuple[dict[str, Any], Path, str]:
    """The result of a simulated run, its record, and what it printed beside."""
    done = robots(place, "simulate", "--seed", "7", "--json", "--ui", "none", *arguments, **variables)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    return result, place / result["record"], done.stderr


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_simulated_run_leaves_its_traces_in_files(tmp_path: Path) -> None:
    # Given a simulated run without a collector
    result, record, err = simulated(tmp_path)
    # Then each exchange is a line that holds its whole trace, and so is the run
    exchanges = lines_of(record / "traces" / "exchanges.jsonl")
    assert [list(line) for line in exchanges] == [["resourceSpans"]] * len(exchanges)
    traces = [list(spans_in(line)) for line in exchanges]
    history = RecordReader(record).history()
    assert [spans[0]["traceId"] for spans in traces] == [id_of(trace) for trace in traces_of(history)]
    assert defects(traces) == []
    [run] = lines_of(record / "traces" / "run.jsonl")
    assert defects([list(spans_in(run))]) == []
    # And all of it happened when the record was made, which is where viewers search
    made_ns = (record / "streams.json").stat().st_mtime_ns
    ends = [int(span["endTimeUnixNano"]) for spans in traces for span in spans]
    assert all(made_ns - 120e9 < end < made_ns + 60e9 for end in ends)
    # And nothing of it is evidence, or worth a line
    assert robots(tmp_path, "verify", result["run"]).returncode == 0
    assert err == ""


@pytest.mark.parametrize(
    ("url", "has_link"), [("", True), ("http://127.0.0.1:4318", True), ("http://127.0.0.1:9", False)]
)
def test_a_person_is_shown_where_traces_are(url: str, has_link: bool) -> None:
    # Given a collector with Jaeger's port or another one, or a place that is named
    named = None if url else "http://jaeger.example/ui/"
    endpoint = endpoint_of({ENDPOINT: url or "http://127.0.0.1:9"})

    lines = list(trace_places("7b08e1", endpoint, named))

    # Then a link is only shown where it is known whose it is
    assert lines[0] == "  traces      robots traces 7b08e1"
    assert lines[1:] == [f"  jaeger: {search_url(named or 'http://127.0.0.1:16686', '7b08e1')}"] * has_link
    assert list(trace_places("7b08e1", None, named)) == lines[:1]


def test_a_link_finds_the_run_by_its_tag() -> None:
    assert search_url("http://jaeger.example/ui/", "7b08e1") == (
        "http://jaeger.example/ui/search?service=lab&operation=run"
        "&tags=%7B%22gossip.run%22%3A%227b08e1%22%7D&lookback=2d&limit=20"
    )


@pytest.mark.long
def test_the_same_record_makes_the_same_bytes(tmp_path: Path) -> None:
    result, record, _ = simulated(tmp_path)
    before = {path.name: path.read_bytes() for path in (record / "traces").iterdir()}

    done = robots(tmp_path, "traces", "export", result["run"], "--all", "-o", "elsewhere", "--json")

    assert done.returncode == 0, done.stderr
    assert (
        json.loads(done.stdout)["exchanges"]
        == json.loads(done.stdout)["of"]
        == len(lines_of(record / "traces" / "exchanges.jsonl"))
    )
    assert {path.name: path.read_bytes() for path in (tmp_path / "elsewhere").iterdir()} == before


FEW = (
    "import sys, functools, deploy.observing.outgoing as outgoing\n"
    "outgoing.choose = functools.partial(outgoing.choose, most=10)\n"
    "from deploy.commands import main; main(sys.argv[1:])"
)


@pytest.mark.long
def test_of_many_exchanges_a_choice_leaves_unless_all_are_asked_for(tmp_path: Path) -> None:
    # Given a run of more exchanges than may leave, which are ten here
    done = python(tmp_path, "-c", FEW, "simulate", "--seed", "7", "--loss", ".5")
    assert done.returncode == 0, done.stderr
    record = (tmp_path / "runs" / "latest").resolve()
    traces = list(traces_of(RecordReader(record).history()))
    assert len(traces) > 10
    # Then these were written, those that failed before all, and one line tells that, and how to get the others
    written = [list(spans_in(line)) for line in lines_of(record / "traces" / "exchanges.jsonl")]
    [line] = [line for line in done.stdout.splitlines() if f"10 of {len(traces)} exchanges" in line]
    assert f"robots traces export {record.name} --all" in line
    failed = {id_of(trace) for trace in traces if trace.spans[0].error}
    assert failed
    assert len(failed & {spans[0]["traceId"] for spans in written}) == min(10, len(failed))
    # And all of them on request
    assert robots(tmp_path, "traces", "export", record.name, "--all").returncode == 0
    assert len(lines_of(record / "traces" / "exchanges.jsonl")) == len(traces)


@pytest.mark.parametrize("protocol", ["http/json", "http/protobuf"])
def test_a_simulated_run_is_pushed_at_its_end(tmp_path: Path, sink: Sink, protocol: str) -> None:
    variables = {ENDPOINT: sink.url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    result, record, err = simulated(tmp_path, **variables)

    traces = by_trace(sink.spans)
    assert defects(traces) == []
    assert len(traces) == 1 + len(list(traces_of(RecordReader(record).history())))
    assert sink.spans[-1]["traceId"] == next(span for span in sink.spans if span["name"] == "run")["traceId"]
    assert f"traces: {len(sink.spans)} spans accepted at {sink.url}" in err
    assert not (record / "traces").exists()

    # And pushed again, it is the same to the letter
    first = list(sink.spans)
    sink.requests.clear()
    assert robots(tmp_path, "traces", "push", result["run"], "--all", **variables).returncode == 0
    assert sorted(map(json.dumps, sink.spans)) == sorted(map(json.dumps, first))


@pytest.mark.parametrize("reply", [Reply(401), Reply(200, b"<html>")])
def test_a_push_that_is_refused_is_counted_and_reported(tmp_path: Path, sink: Sink, reply: Reply) -> None:
    result, _, _ = simulated(tmp_path)
    sink.reply = lambda _number: reply

    done = robots(tmp_path, "traces", "push", result["run"], **{ENDPOINT: sink.url})

    assert done.returncode == 4
    assert f"traces: 0 spans accepted at {sink.url}, " in done.stdout
    assert len(done.stderr.splitlines()) == 1


def test_a_collector_in_trouble_changes_nothing_of_a_simulated_run(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"

        result, record, err = simulated(tmp_path, **{ENDPOINT: url})

    assert (result["verdict"], (record / "verdict.json").exists()) == ("HELD", True)
    assert len([line for line in err.splitlines() if "nothing is accepted" in line]) == 1
    assert "dropped (connection refused)" in err


BAD = [
    ({ENDPOINT: "collector"}, ENDPOINT),
    ({ENDPOINT: "http://lab:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL"),
    ({ENDPOINT: "http://lab:4318", "OTEL_EXPORTER_OTLP_HEADERS": "hunter2"}, "OTEL_EXPORTER_OTLP_HEADERS"),
    ({ENDPOINT: "https://lab:4318", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/nope"}, "OTEL_EXPORTER_OTLP_CERTIFICATE"),
]


@pytest.mark.parametrize(
    "command", [["run"], ["simulate"], ["traces", "push"], ["traces", "follow"], ["verify", "--wait"]]
)
@pytest.mark.parametrize(("variables", "name"), BAD, ids=[name for _, name in BAD])
def test_a_collector_that_cannot_be_meant_is_one_line_before_anything_starts(
    tmp_path: Path, command: list[str], variables: dict[str, str], name: str
) -> None:
    done = robots(tmp_path, *command, **variables)

    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert name in line
    assert "hunter2" not in line
    assert list(tmp_path.iterdir()) == []


def test_a_push_without_a_collector_names_what_to_set(tmp_path: Path) -> None:
    done = robots(tmp_path, "traces", "push")

    assert done.returncode == 2
    assert ENDPOINT in done.stderr


def test_traces_that_are_switched_off_are_neither_written_nor_sent(tmp_path: Path, sink: Sink) -> None:
    _, record, _ = simulated(tmp_path, **{ENDPOINT: sink.url, "OTEL_SDK_DISABLED": "true"})

    assert sink.asked == 0
    assert not (record / "traces").exists()


def test_traces_that_cannot_be_written_change_nothing(tmp_path: Path) -> None:
    # Given a place where no folder for traces can be made: every record finds a file there
    code = (
        "import deploy.lifecycle.tracing as tracing; tracing.FOLDER = 'settings.json'\n"
        "from deploy.commands import main; main(['simulate', '--seed', '7', '--ui', 'none'])"
    )
    done = python(tmp_path, "-c", code)

    assert done.returncode == 0
    assert "HELD" in done.stdout
    [line] = done.stderr.splitlines()
    assert line.startswith("traces: ")


LONG = (
    "import sys, deploy.lifecycle.tracing as tracing; tracing.LARGEST_EVENTS = 1000\n"
    "from deploy.commands import main; main(['simulate', '--seed', '7', '--ui', 'none'])"
)


@pytest.mark.parametrize("command", ["export", "push"])
def test_traces_of_a_long_run_leave_when_they_are_asked_for(tmp_path: Path, sink: Sink, command: str) -> None:
    done = python(tmp_path, "-c", LONG, **({ENDPOINT: sink.url} if command == "push" else {}))

    record = (tmp_path / "runs" / "latest").resolve()
    assert done.returncode == 0, done.stderr
    assert f"robots traces {command} {record.name}" in done.stdout
    assert (sink.asked, (record / "traces").exists()) == (0, False)


LOADED = (
    "import sys, deploy.entry\n"
    "import deploy.commands.run, deploy.commands.simulate, deploy.commands.traces\n"
    "import deploy.fleet.local, deploy.rq.job, deploy.lifecycle.closing, broker.streams.relay.driver\n"
    "print([name for name in sys.modules if name.split('.')[0] in ('opentelemetry', 'google', 'requests')])\n"
    "import opentelemetry.sdk.metrics, telemetry.otlp.http_exporters\n"
    "print('loaded')\n"
)


def test_nothing_of_opentelemetry_is_loaded_before_it_is_needed(tmp_path: Path) -> None:
    done = python(tmp_path, "-c", LOADED)

    assert done.stdout.splitlines() == ["[]", "loaded"], done.stderr
