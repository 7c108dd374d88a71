"""`robots faults` on a live run of the whole lab."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from tests.support.live_place import LIVE, UNTIL_STOPPED, Place, not_held
from tests.support.terminal import Terminal
from tests.support.waiting import measuring_lateness

pytestmark = LIVE

WAKE_UPS = 6  # of processes, one after the other: command, server, leader, server, relay, server


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_live_run_is_changed_from_another_process_and_still_judged(
    place: Place, here: Path, terminal: Terminal
) -> None:
    # Given a run that has begun, with two relays
    run = place.start("run", "--json", "-n", "4", "--seed", "3", "--relays", "2", *UNTIL_STOPPED)
    place.await_event("run.started")

    # When its faults are changed, one after the other
    with measuring_lateness() as lateness:
        answers = [terminal.faults("set", "loss .9", "--json").row]
        shown = terminal.faults("show", "--json").row
        answers.append(terminal.faults("clear", "loss", "--json").row)
        answers.append(terminal.faults("set", "corrupt .2; throttle 50/s r03", "--json").row)
        answers.append(terminal.faults("set", "partition hold r00|r01 @100ms+1s", "--json").row)
        answers.append(terminal.faults("heal", "--json").row)

    # Then each change is in force at both relays, mostly within 200 ms, but for how late a busy machine wakes each up
    assert "loss 0.9" in [fault["fault"] for fault in shown["in_force"]]
    assert statistics.median(answer["seconds"] for answer in answers) <= 0.2 + WAKE_UPS * max(lateness)
    assert [answer["relays"] for answer in answers] == [2] * 5
    assert "loss 0.9" in [fault["fault"] for fault in answers[1]["old"]]
    assert answers[4]["new"] == []
    # And the run comes to its end, and its promises hold
    code, result, _ = place.stop(run)
    assert (code, result["verdict"]) == (0, "HELD"), not_held(result)
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
