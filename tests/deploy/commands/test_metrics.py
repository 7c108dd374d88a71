"""`robots metrics` as a person meets it: a run's metrics as text and as an object, and bad input in one line."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from broker.streams.keys import EVENTS
from telemetry.stream.publisher import encode_events
from tests.deploy.commands.scheduled_run import Lab
from tests.support.live_place import Place
from tests.support.metrics_collector import metrics_collector
from tests.support.terminal import Terminal
from tests.support.waiting import await_true
from tests.telemetry.metrics.story import whole_story

REPORTING = """
import os, pkgutil
os.write(2, f"imported {__name__}\\n".encode())
__path__ = pkgutil.extend_path(__path__, __name__)
for place in __path__[1:]:
    if os.path.exists(place + "/__init__.py"):
        exec(compile(open(place + "/__init__.py").read(), place, "exec"))
"""


@pytest.fixture
def recorded(here: Path, terminal: Terminal) -> Path:
    """The record of a simulated run."""
    assert terminal.do("simulate", "-n", "3", "--seed", "3").code == 0
    return (here / "runs" / "latest").resolve()


def fates(folder: Path) -> int:
    rows = [json.loads(line) for line in (folder / "fates.jsonl").read_text().splitlines()]
    return sum(row["row"] == "fate" for row in rows)


def test_the_metrics_of_a_record_are_printed_as_prometheus_text(recorded: Path, terminal: Terminal) -> None:
    output = terminal.do("metrics")

    samples = [sample for family in text_string_to_metric_families(output.out) for sample in family.samples]
    relayed = sum(sample.value for sample in samples if sample.name == "gossip_relay_messages_total")
    [info] = [sample.labels for sample in samples if sample.name == "target_info"]
    assert (output.code, output.err, relayed) == (0, "", fates(recorded))
    assert (info["gossip_run"], info["service_namespace"]) == (recorded.name, "robots-lab")


def test_the_metrics_of_a_record_are_one_object(recorded: Path, terminal: Terminal) -> None:
    row = terminal.do("metrics", recorded.name, "--json").row

    metrics: dict[str, Any] = {metric["name"]: metric for metric in row["metrics"]}
    relayed = metrics["gossip.relay.messages"]
    transit = metrics["gossip.transit.duration"]["distributions"]
    assert row["run"] == recorded.name
    assert (relayed["instrument"], relayed["unit"]) == ("Counter", "{message}")
    assert sum(series["value"] for series in relayed["series"]) == fates(recorded)
    assert all(series["count"] == sum(bucket["count"] for bucket in series["buckets"]) for series in transit)
    assert metrics["gossip.events.missed"]["series"] == [{"attributes": {}, "value": 0}]


def test_events_that_a_record_lacks_are_counted(recorded: Path, terminal: Terminal) -> None:
    # Given a record without three of its events
    lines = (recorded / "events.jsonl").read_text().splitlines()
    (recorded / "events.jsonl").write_text("\n".join(lines[:20] + lines[23:]) + "\n")

    metrics = {metric["name"]: metric for metric in terminal.do("metrics", "--json").row["metrics"]}

    assert metrics["gossip.events.missed"]["series"] == [{"attributes": {}, "value": 3}]


def test_damage_of_a_record_is_reported_and_counted(recorded: Path, terminal: Terminal) -> None:
    # Given a record with two lines of garbage, whose last line is cut
    content = (recorded / "events.jsonl").read_bytes()
    (recorded / "events.jsonl").write_bytes(b"garbage\n{}\n" + content[:-9])

    output = terminal.do("metrics", "--json")

    metrics = {metric["name"]: metric for metric in json.loads(output.out)["metrics"]}
    assert metrics["gossip.events.missed"]["series"] == [{"attributes": {}, "value": 3}]
    assert output.err.splitlines() == [
        "robots: events.jsonl: 2 damaged lines were left out",
        "robots: events.jsonl: its last line is cut, and was left out",
    ]


def test_a_record_in_another_folder_keeps_its_name(recorded: Path, here: Path, terminal: Terminal) -> None:
    shutil.copytree(recorded, here / "copy")

    assert terminal.do("metrics", "./copy", "--json").row["run"] == recorded.name


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--port", "65536"], 2, ("--port", "0 to 65535")),
        (["--port=-1"], 2, ("--port", "0 to 65535")),
        (["--port", "many"], 2, ("--port", "many")),
        (["--stay"], 2, ("--stay", "--port")),
        (["nosuch"], 2, ("nosuch", "recorded")),
        (["--port", "0", "--host", "no.such.host.invalid"], 4, ("--port", "no.such.host.invalid")),
    ],
)
def test_what_cannot_be_is_one_line(
    recorded: Path, terminal: Terminal, arguments: list[str], code: int, words: tuple[str, ...]
) -> None:
    output = terminal.do("metrics", *arguments)

    assert output.code == code
    assert all(word in output.complaint for word in words)


def test_without_any_run_it_is_one_line(here: Path, terminal: Terminal) -> None:
    output = terminal.do("metrics")

    assert (output.code, "no run is recorded" in output.complaint) == (2, True)


def test_a_record_that_cannot_be_read_is_one_line(recorded: Path, terminal: Terminal) -> None:
    (recorded / "settings.json").write_text("{")

    output = terminal.do("metrics")

    assert (output.code, "settings.json" in output.complaint) == (2, True)


def test_a_collector_that_the_environment_names_wrongly_is_one_line(
    recorded: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "collector")

    output = terminal.do("metrics")

    assert (output.code, "OTEL_EXPORTER_OTLP_ENDPOINT" in output.complaint) == (2, True)


def test_what_is_printed_goes_to_the_collector_of_the_environment_too(
    recorded: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    with metrics_collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        shown = terminal.do("metrics", "--json").row

    [(_, request)] = collector.came
    [resource] = request["resourceMetrics"]
    attributes = {pair["key"]: pair["value"]["stringValue"] for pair in resource["resource"]["attributes"]}
    assert (attributes["gossip.run"], attributes["service.name"]) == (recorded.name, "lab")
    assert [one["name"] for one in resource["scopeMetrics"][0]["metrics"]] == [one["name"] for one in shown["metrics"]]


def test_a_collector_in_trouble_changes_neither_the_result_nor_the_exit_code(
    recorded: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")

    output = terminal.do("metrics", "--json")

    assert (output.code, json.loads(output.out)["run"]) == (0, recorded.name)
    assert output.err == "robots: metrics: the collector at http://127.0.0.1:1 is in trouble: connection refused\n"


def test_a_live_run_is_read_from_its_server(lab: Lab, terminal: Terminal) -> None:
    # Given a live run whose stream has lost its oldest batch
    for stamped in whole_story()[3:6]:
        lab.client.xadd(lab.keys.events, {EVENTS: encode_events([stamped])})
    before = lab.client.xinfo_stream(lab.keys.events)

    # When its metrics are read twice
    first, second = (terminal.do("metrics", lab.run, "--json").row for _ in range(2))

    # Then they are those of what is there, what is missing is counted, and nothing was taken away
    values = {metric["name"]: metric.get("series") for metric in first["metrics"]}
    assert first == second
    assert values["gossip.relay.copies"] == [{"attributes": {"gossip.relay": "relay:0"}, "value": 3}]
    assert [series["value"] for series in values["gossip.events.missed"]] == [2]
    assert lab.client.xinfo_stream(lab.keys.events) == before


def test_a_run_on_a_server_that_another_version_dealt_is_one_line(lab: Lab, terminal: Terminal, here: Path) -> None:
    shutil.rmtree(lab.folder)

    output = terminal.do("metrics", lab.run, "--redis-url", lab.url)

    assert (output.code, "another version" in output.complaint) == (2, True)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_waiting_for_a_run_ends_with_ctrl_c(place: Place) -> None:
    waiting = place.start("metrics", "--port", "0", "--wait")
    assert waiting.stderr is not None
    first = await_true(waiting.stderr.readline)

    waiting.send_signal(signal.SIGINT)
    out, err = waiting.communicate(timeout=20)

    assert first == b"no run is live in runs/; waiting for one\n"
    assert (waiting.returncode, out, err) == (130, b"", b"")


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_is_the_normal_end_of_serving_a_record(place: Place) -> None:
    # Given a record that is served
    assert place.start("simulate", "-n", "3", "--seed", "3").wait(timeout=50) == 0
    serving = place.start("metrics", "latest", "--port", "0")
    assert serving.stderr is not None
    assert b": metrics at http://127.0.0.1:" in await_true(serving.stderr.readline)

    serving.send_signal(signal.SIGINT)
    out, err = serving.communicate(timeout=20)

    assert (serving.returncode, out, err) == (0, b"", b"")


@pytest.mark.live
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="live runs are for Linux")
def test_a_run_imports_neither_prometheus_nor_opentelemetry_before_its_verdict(place: Place) -> None:
    # Given packages of these names that report their import, and are the real ones otherwise
    for name in ("prometheus_client", "opentelemetry"):
        package = place.folder / "first" / name
        package.mkdir(parents=True)
        package.joinpath("__init__.py").write_text(REPORTING)
    environment = {**place.environment, "PYTHONPATH": str(place.folder / "first")}

    # When a live run and its result come in one stream, and then its metrics
    def lines_of(*arguments: str) -> list[str]:
        process = subprocess.Popen(
            [*place.program, *arguments],
            cwd=place.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return process.communicate(timeout=50)[0].splitlines()

    run = lines_of("run", "-n", "2", "--seed", "3")
    metrics = lines_of("metrics")

    # Then only the metrics needed them
    verdict = next(number for number, line in enumerate(run) if line.startswith("HELD  run"))
    assert [line for line in run[:verdict] if line.startswith("imported ")] == []
    assert {line for line in metrics if line.startswith("imported ")} == {
        "imported prometheus_client",
        "imported opentelemetry",
    }
