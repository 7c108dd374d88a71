"""`robots faults` on a live run of the whole lab."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import ROOT
from tests.support.terminal import Terminal
from tests.support.waiting import await_true

pytestmark = pytest.mark.live


@pytest.fixture
def live_run(here: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run of the whole lab, with two relays, that goes on for eight seconds."""
    command = [
        sys.executable,
        "-m",
        "deploy",
        "run",
        "-n",
        "4",
        "--for",
        "8s",
        "--seed",
        "3",
        "--relays",
        "2",
        "--json",
    ]
    with subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as run:
        try:
            yield run
        finally:
            run.terminate()
            run.communicate(timeout=30)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="live runs are for Linux")
def test_a_live_run_is_changed_from_another_process_and_still_judged(
    live_run: subprocess.Popen[bytes], here: Path, terminal: Terminal
) -> None:
    # Given a run that has begun
    def has_begun() -> bool:
        if not list(here.glob("runs/*/live.json")):
            return False
        output = terminal.faults("show", "--json")
        return output.code == 0 and json.loads(output.out)["now_s"] is not None

    await_true(has_begun, seconds=30, what="the run's beginning")

    # When its faults are changed, one after the other
    answers = [terminal.faults("set", "loss .9", "--json").row]
    shown = terminal.faults("show", "--json").row
    answers.append(terminal.faults("clear", "loss", "--json").row)
    answers.append(terminal.faults("set", "corrupt .2; throttle 50/s r03", "--json").row)
    answers.append(terminal.faults("set", "partition hold r00|r01 @100ms+1s", "--json").row)
    answers.append(terminal.faults("heal", "--json").row)

    # Then each change is in force at both relays, mostly within 200 ms
    assert "loss 0.9" in [fault["fault"] for fault in shown["in_force"]]
    assert statistics.median(answer["seconds"] for answer in answers) <= 0.2
    assert [answer["relays"] for answer in answers] == [2] * 5
    assert "loss 0.9" in [fault["fault"] for fault in answers[1]["old"]]
    assert answers[4]["new"] == []
    # And the run comes to its end, and its promises hold
    out, _ = live_run.communicate(timeout=55)
    result = json.loads(out)
    assert (live_run.returncode, result["verdict"]) == (0, "HELD"), result["promises"]
    # And the record tells who asked for what, and which faults that gave, alike in both outboxes
    plan = rows(here / "runs" / "latest" / "plan.jsonl")
    asked = [[row for row in plan if row.get("request") and row["shard"] == shard] for shard in range(2)]
    assert [row["request"] for row in asked[0]] == [
        "set loss 0.9",
        "clear loss",
        "set corrupt 0.2; throttle 50/s r03",
        "set partition hold r00|r01 @100ms+1s",
        "heal",
    ]
    assert [row["request_id"] for row in asked[0]] == [answer["request"] for answer in answers]
    for row, twin, answer in zip(*asked, answers, strict=True):
        assert row["faults"] == twin["faults"] == answer["new"]
    # And no request can change it any more
    assert f"robots verify {shown['run']}" in terminal.faults("heal", shown["run"]).complaint
    assert "no run is live" in terminal.faults("heal").complaint
