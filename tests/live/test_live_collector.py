"""A live run and a collector: its traces arrive while it lives, and no trouble with the collector troubles the run."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.collector import Reply, Sink, by_trace, collecting, defects
from tests.support.live_place import END_S, LIVE, UNTIL_STOPPED, Place, not_held
from tests.support.waiting import await_true

pytestmark = LIVE
SLOW_S = 60  # for an answer of a collector that is too slow


@pytest.fixture
def sink() -> Iterator[Sink]:
    yield from collecting(Sink())


def named(span: dict[str, Any]) -> dict[str, Any]:
    """A span's attributes."""
    return {pair["key"]: next(iter(pair["value"].values())) for pair in span.get("attributes", [])}


@pytest.mark.long
def test_every_exchange_of_a_run_with_kills_arrives_with_its_root(place: Place, sink: Sink) -> None:
    # Given a collector, and robots that are killed all the time
    place.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = sink.url
    code, result, progress = place.run("-n", "5", "--for", "4s", "--chaos", "kill robot every 400ms", "--loss", ".2")
    assert code in (0, 3), (not_held(result), progress)  # on a busy machine an injection may find its victim gone
    # Then no trace is without its root, and no span without its parent
    traces = by_trace(sink.spans)
    assert len(traces) > 10
    assert defects(traces) == []
    # And the run's own came last, with its verdict, and the relay's spans name what was lost
    assert [span["name"] for span in sink.spans].count("run") == 1
    [run] = [span for span in sink.spans if span["name"] == "run"]
    assert named(run)["gossip.verdict"] == result["verdict"]
    assert {span["resource"]["service.name"] for span in sink.spans} >= {"lab", "relay:0", "r00", "r04"}
    lost = [span for span in sink.spans if named(span).get("gossip.fate") == "lost"]
    assert lost
    assert all("loss" in named(span)["gossip.faults"] for span in lost)
    # And what was accepted is lines, and nothing is left
    assert f"traces: {len(sink.spans)} spans accepted at {sink.url}" in progress
    assert not (place.folder / result["record"] / "traces" / "exchanges.jsonl").exists()
    assert place.is_clean(), place.processes()


def test_protobuf_carries_the_same_run(place: Place, sink: Sink) -> None:
    place.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = sink.url
    place.environment["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf"

    code, result, progress = place.run("-n", "3")

    assert code == 0, (not_held(result), progress)
    assert {headers["content-type"] for _, headers, _ in sink.requests} == {"application/x-protobuf"}
    assert defects(by_trace(sink.spans)) == []
    assert f"traces: {len(sink.spans)} spans accepted" in progress


@pytest.mark.parametrize("trouble", ["dead", pytest.param("slow", marks=pytest.mark.long), "refusing"])
def test_a_collector_in_trouble_leaves_the_run_as_it_is(place: Place, sink: Sink, trouble: str) -> None:
    # Given a collector that is not there, does not answer, or refuses
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{taken.getsockname()[1]}"
        url = dead if trouble == "dead" else sink.url
        sink.reply = lambda _number: Reply(401) if trouble == "refusing" else Reply(after_s=SLOW_S)
        place.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = url
        place.environment["OTEL_EXPORTER_OTLP_HEADERS"] = "authorization=hunter2"
        # When a run goes on beside it
        code, result, progress = place.run("-n", "3")
    # Then it is judged as ever; all spans are counted, why is lines in a line, and no secret is shown
    assert code == 0, (not_held(result), progress)
    reason = {"dead": "connection refused", "slow": "it does not answer in time", "refusing": "401 Unauthorized"}[
        trouble
    ]
    lines = [line for line in progress.splitlines() if "traces: " in line]
    assert len([line for line in lines if "nothing is accepted" in line]) <= 1
    [counted] = [line for line in lines if "spans accepted" in line]
    assert "traces: 0 spans accepted at" in counted
    assert " dropped (" in counted
    assert reason in counted
    assert "hunter2" not in progress
    assert place.is_clean()


@pytest.mark.long
def test_an_interrupt_does_not_wait_for_a_slow_collector(place: Place, sink: Sink) -> None:
    # Given a run whose collector never answers
    sink.reply = lambda _number: Reply(after_s=SLOW_S)
    place.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = sink.url
    process = place.start("run", "--for", "60s", "-n", "3")
    await_true(lambda: any(row["event"]["name"] == "run.started" for row in place.events()))
    await_true(lambda: sink.asked, what="the probe")
    # When it is interrupted
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=END_S)
    # Then it ends, and does not wait for the answer
    assert process.returncode == 130
    assert time.monotonic() - began < SLOW_S
    assert place.is_clean()


def test_a_follower_that_is_killed_harms_nothing(place: Place, sink: Sink) -> None:
    # Given a run that is followed
    place.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = sink.url
    process = place.start("run", "--json", *UNTIL_STOPPED, "-n", "3")
    await_true(lambda: sink.spans)
    [follower] = [pid for pid in place.processes() if Path(f"/proc/{pid}/comm").read_text() == "traces\n"]
    # When its follower is killed
    os.kill(follower, signal.SIGKILL)
    code, result, progress = place.stop(process)
    # Then the run is judged as ever, tells how to deliver its traces all the same, and that works
    assert code == 0, (not_held(result), progress)
    assert f"robots traces push {result['run']}" in progress
    sink.requests.clear()
    pushed = place.start("traces", "push", result["run"], "--json")
    out, err = pushed.communicate(timeout=END_S)
    assert (pushed.returncode, json.loads(out)["dropped"]) == (0, 0), err.decode()
    assert defects(by_trace(sink.spans)) == []


@pytest.mark.long
def test_any_process_may_follow_a_run(place: Place, sink: Sink) -> None:
    # Given a run that has no collector, and a follower of its own that has one
    process = place.start("run", "--json", *UNTIL_STOPPED, "-n", "3")
    await_true(lambda: any(row["event"]["name"] == "run.started" for row in place.events()))
    place.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = sink.url
    follower = place.start("traces", "follow", "--json")
    await_true(lambda: len(by_trace(sink.spans)) > 5, what="traces")
    # When the run has ended
    code, result, _ = place.stop(process)
    found, err = follower.communicate(timeout=END_S)
    # Then the follower has ended, too, and has delivered every exchange whole
    assert (code, follower.returncode) == (0, 0), err.decode()
    assert json.loads(found) == {
        "run": result["run"], "accepted": len(sink.spans), "dropped": 0, "trouble": "", "missed": 0
    }  # fmt: skip
    assert defects(by_trace(sink.spans)) == []
    # And the run's own trace came last, with the verdict
    [run] = [span for span in sink.spans if span["name"] == "run"]
    assert named(run)["gossip.verdict"] == result["verdict"]
    # And the run has written its traces itself
    assert (place.folder / "runs" / "latest" / "traces" / "exchanges.jsonl").exists()
