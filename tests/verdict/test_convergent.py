"""Convergent: every robot that had the time and the network for it is complete at the end."""

from __future__ import annotations

import msgspec
import pytest

from telemetry.events import MessageReceived, RobotFenced, RobotLeft, RobotStarted
from tests.verdict.alterations import (
    Damage,
    death,
    die,
    drop,
    injection,
    insert_event,
    journal_part,
    named,
    nothing_written,
    remain_incomplete,
    renumber,
    rows,
)
from tests.verdict.judged import assert_convicted, assert_unproven, finding, state, verdict_on
from tests.verdict.scribe import END_MS, GO_MS, STOP_MS, TICK_US, Files

BREACHES: dict[str, tuple[Damage, str]] = {
    "a robot that had time and is not complete": (remain_incomplete, "journal of r00"),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_convicted_with_a_witness(breach: str, files: Files) -> None:
    assert_convicted(files, "convergent", *BREACHES[breach])


def die_incomplete(files: Files) -> None:
    """r02, which alone held part 2, dies before it taught any other."""
    for robot in ("r00", "r01"):
        drop(files, "journals", journal_part(files, robot, 2))
        renumber(files, robot)
    die(files)


def stop_early(files: Files) -> None:
    remain_incomplete(files)
    files["streams"]["orders"][-1]["id"] = f"{GO_MS + 1999}-0"


def lose_too_much(files: Files) -> None:
    remain_incomplete(files)
    files["plan"][0]["faults"][0]["fault"] = "loss 0.6"


DOUBTS: dict[str, tuple[Damage, str]] = {
    "nothing to converge to": (nothing_written, "nothing was written"),
    "too little time": (stop_early, "of 20 ticks"),
    "faults above the budget": (lose_too_much, "loss 0.6"),
    "a part that died with its holder": (die_incomplete, "part 2 (last held by r02)"),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_what_cannot_be_shown_is_unproven_with_the_reason(doubt: str, files: Files) -> None:
    assert_unproven(files, "convergent", *DOUBTS[doubt])


def test_only_robots_that_lived_until_the_stop_are_in_scope(files: Files) -> None:
    # Given r02, which is not complete
    remain = journal_part(files, "r02", 1)
    drop(files, "journals", remain)
    drop(files, "journals", rows(files, "journals", robot="r02", entry="complete")[0])
    renumber(files, "r02")
    assert verdict_on(files).promises["convergent"].state == "BROKEN"
    # When it died, left early, or was fenced, then it is out of scope
    left = named(files, "robot.left", "r02")[0]
    for end in (RobotLeft("given up"), RobotFenced("journal"), RobotLeft("recalled")):
        left["event"] = msgspec.to_builtins(end)
        assert verdict_on(files).promises["convergent"].state == "HELD"
    # But if it was recalled after the order to stop, which it had not received, then it lived until the end
    left["wall_us"] = (STOP_MS + 1_001) * 1_000
    assert verdict_on(files).promises["convergent"].state == "BROKEN"
    left["wall_us"] = STOP_MS * 1_000
    drop(files, "events", left)
    die(files)
    assert verdict_on(files).promises["convergent"].state == "HELD"
    # But a death before its last birth excuses nothing
    files["fleet"].pop()
    assert verdict_on(files).promises["convergent"].state == "BROKEN"


def put_in_force(files: Files, at_ms: int, *faults: str) -> None:
    """Let a plan of these faults have come into force in both outboxes."""
    planned = [{"instance": 50 + number, "fault": text} for number, text in enumerate(faults)]
    for shard in (0, 1):
        files["plan"].append({"shard": shard, "id": f"{at_ms}-{shard}", "control": "plan", "faults": planned})


BEFORE_IT_SETTLED_MS = STOP_MS - 20 * TICK_US // 1000 - 1


@pytest.mark.parametrize(
    ("faults", "state", "reason"),
    [
        # faults on all links, within the budget and above it
        (["loss 0.5"], "BROKEN", "had time"),
        (["loss 0.51"], "UNPROVEN", "loss 0.51"),
        (["burst-loss 0.5 5"], "BROKEN", "had time"),
        (["burst-loss 0.3 5", "loss 0.2", "corrupt 0.2"], "UNPROVEN", "burst-loss 0.3 5"),
        (["loss 0.2", "corrupt 0.2", "duplicate 1 x9", "reorder 1"], "BROKEN", "had time"),
        (["delay 50ms..100ms"], "BROKEN", "had time"),
        (["delay 101ms"], "UNPROVEN", "delay 101ms"),
        (["delay 20ms~0.5"], "BROKEN", "had time"),
        (["delay 20ms~1"], "UNPROVEN", "delay 20ms~1"),
        (["throttle 1000/s"], "UNPROVEN", "throttle 1000/s"),
        # what cuts r00 off, which lacks part 1; r01 and r02 hold it
        (["partition r00"], "HELD", "cut off at the end, and not complete: r00"),
        (["partition hold r00|r01..r02"], "HELD", "cut off at the end"),
        (["partition r01,r02>r00"], "HELD", "cut off at the end"),
        (["loss 0.6 r00"], "HELD", "cut off at the end"),
        (["loss 0.4", "corrupt 0.3 r00"], "HELD", "cut off at the end"),
        (["throttle 5/s r00>r01,r02"], "HELD", "cut off at the end"),
        (["delay 1s r00"], "HELD", "cut off at the end"),
        (["loss 0.3", "partition r00>r02"], "HELD", "cut off at the end"),
        # what does not
        (["partition r00|r02"], "BROKEN", "had time"),
        (["partition r01|r02"], "BROKEN", "had time"),
        (["partition r03|r00..r02"], "BROKEN", "had time"),
        (["loss 0.5 r00"], "BROKEN", "had time"),
        # what leaves it open: r01, which was dealt part 1, is cut off from r00, or lacks good links itself
        (["partition r00|r01"], "UNPROVEN", "may have got it late"),
        (["loss 0.5 r00", "delay 1s r01|r02"], "UNPROVEN", "may have got it late"),
    ],
)
def test_robots_must_have_only_what_the_network_allowed(
    faults: list[str], state: str, reason: str, files: Files
) -> None:
    # Given r00, which is not complete, and a plan in force for 20 ticks until the stop
    remain_incomplete(files)
    put_in_force(files, BEFORE_IT_SETTLED_MS, *faults)
    for healed in (False, True):
        # When it is judged, be it that the lab healed the network at the end
        if healed:
            put_in_force(files, STOP_MS)
            put_in_force(files, STOP_MS + 3)
        finding = verdict_on(files).promises["convergent"]
        # Then the robot is in scope only if the network was good enough for it
        assert (finding.state, reason in finding.why) == (state, True), finding.why


def test_a_robot_that_is_cut_off_from_all_holders_of_what_it_lacks_is_out_of_scope(files: Files) -> None:
    # Given r00, which lacks part 1, and r02, which lacks it too
    remain_incomplete(files)
    drop(files, "journals", journal_part(files, "r02", 1))
    drop(files, "journals", rows(files, "journals", robot="r02", entry="complete")[0])
    renumber(files, "r02")
    # When only r01, which holds it, is cut off from r00
    put_in_force(files, BEFORE_IT_SETTLED_MS - 1, "partition r00|r01")
    finding = verdict_on(files).promises["convergent"]
    # Then only r02 breaks the promise
    assert (finding.state, "r02 is not complete: it lacks part 1;" in finding.why) == ("BROKEN", False)
    assert finding.why.startswith("r02 is not complete: it lacks part 1, although")
    # When r01 is cut off from both, then no robot does
    put_in_force(files, BEFORE_IT_SETTLED_MS, "partition r01")
    finding = verdict_on(files).promises["convergent"]
    assert (finding.state, "r00, r02" in finding.why) == ("HELD", True)
    # When all are cut off from all, then no robot is in scope
    put_in_force(files, BEFORE_IT_SETTLED_MS + 1, "partition r00|r01|r02")
    remain = journal_part(files, "r01", 2)
    drop(files, "journals", remain)
    drop(files, "journals", rows(files, "journals", robot="r01", entry="complete")[0])
    renumber(files, "r01")
    finding = verdict_on(files).promises["convergent"]
    assert (finding.state, "no robot was in scope" in finding.why) == ("UNPROVEN", True)


def test_a_part_whose_dealt_holder_died_is_required_from_other_holders(files: Files) -> None:
    # Given r00, which lacks part 2; r02, which was dealt it, died, and r01 holds it
    drop(files, "journals", journal_part(files, "r00", 2))
    drop(files, "journals", rows(files, "journals", robot="r00", entry="complete")[0])
    renumber(files, "r00")
    die(files)
    # When it is judged, then r00 had its chance
    finding = verdict_on(files).promises["convergent"]
    assert (finding.state, "it lacks part 2" in finding.why) == ("BROKEN", True)


def test_only_a_plan_that_differs_gives_robots_more_time(files: Files) -> None:
    # Given r00, which is not complete, and a request just before the stop that changed nothing
    remain_incomplete(files)
    put_in_force(files, BEFORE_IT_SETTLED_MS, "loss 0.1")
    put_in_force(files, STOP_MS - 500, "loss 0.1")
    assert verdict_on(files).promises["convergent"].state == "BROKEN"
    # When another one did change something, if only for the better
    put_in_force(files, STOP_MS - 400)
    finding = verdict_on(files).promises["convergent"]
    # Then there was too little time
    assert (finding.state, "only 4 of 20 ticks" in finding.why) == ("UNPROVEN", True)


def test_a_robot_that_was_paused_at_the_end_is_out_of_scope(longer_files: Files) -> None:
    # Given r00, which is not complete
    remain_incomplete(longer_files)
    assert state(longer_files, "convergent") == "BROKEN"
    # When it was paused and went on, or another one was paused, then it had its chance all the same
    for text, victim in (("pause r00", "r00"), ("resume r00", "r00"), ("pause rq:r00", "rq:r00"), ("pause r02", "r02")):
        injection(longer_files, text, victim, STOP_MS)
        if text != "pause r00":
            assert state(longer_files, "convergent") == "BROKEN", text
    injection(longer_files, "pause r00", "r00", END_MS)
    assert state(longer_files, "convergent") == "BROKEN"
    # When it was paused until the end, then it is out of scope
    injection(longer_files, "pause r00", "r00", STOP_MS + 5)
    found = finding(longer_files, "convergent")
    assert (found[0], "paused at the end: r00, r02" in found[1]) == ("HELD", True), found
    # When it died since, and was not started again, then it is dead
    death(longer_files, "r00", 1, STOP_MS + 9)
    named(longer_files, "robot.left", "r00")[0]["event"] = msgspec.to_builtins(RobotStarted())
    assert "1 were not alive; paused at the end: r02" in finding(longer_files, "convergent")[1]


def test_a_fleet_that_was_disturbed_just_before_the_end_had_too_little_time(longer_files: Files) -> None:
    remain_incomplete(longer_files)
    injection(longer_files, "kill relay", "relay:0", END_MS - 1_999)
    found = finding(longer_files, "convergent")
    assert (found[0], "only 19 of 20 ticks passed" in found[1]) == ("UNPROVEN", True)
    longer_files["fleet"][-1]["id"] = f"{END_MS - 2_000}-0"
    assert state(longer_files, "convergent") == "BROKEN"
    # And an injection after the stop does not count
    injection(longer_files, "kill relay", "relay:0", END_MS + 1)
    assert state(longer_files, "convergent") == "BROKEN"


# A robot that is slow is not guilty.


def execute_fewer_ticks(files: Files) -> None:
    """r00 executes one tick in a second."""
    remain_incomplete(files)
    reports = named(files, "ticks.executed", "r00")
    for place, report in enumerate(reports):
        report["event"]["ticks"] = 1 if place % 10 == 0 else 0


def learn_until_the_end(files: Files) -> None:
    """r00 lacks one part, and learnt another one two seconds before the end."""
    remain_incomplete(files)
    [brought] = [row["cause"] for row in rows(files, "journals", robot="r00", index=2)]
    [fate] = [
        row
        for row in files["fates"]
        if [row["sender"], row["incarnation"], row["sequence"], row["receiver"]] == [*brought[:3], "r00"]
    ]
    fate["id"] = f"{STOP_MS - 1_900}-0"


def receive_late(files: Files) -> None:
    """r00 gets a copy two seconds after it was due."""
    remain_incomplete(files)
    fate = next(row for row in files["fates"] if row["receiver"] == "r00" and row["deliveries"])
    came_us = int(fate["id"].partition("-")[0]) * 1000 + fate["deliveries"][0] + 2_101_000
    address = fate["sender"], fate["incarnation"], fate["sequence"], 0
    copy = MessageReceived(*address, fate["kind"], fate["exchange"], 0, f"{came_us // 1000}-0")
    insert_event(files, "r00", 1, copy, came_us)
    named(files, "message.received", "r00")[0]["wall_us"] = came_us


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (execute_fewer_ticks, "r00 executed only 2 of 20 ticks since it last learnt a part"),
        (learn_until_the_end, "of 20 ticks since it last learnt a part"),
        (receive_late, "copies came to r00 up to 2.1 s late"),
    ],
)
def test_a_robot_that_is_slow_leaves_a_doubt_and_no_guilt(files: Files, damage: Damage, why: str) -> None:
    assert_unproven(files, "convergent", damage, why)
