"""Supervised: after a death or a crash, a restart came in time and within the policy, or the exception is named."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from telemetry.events import (
    AnyEvent,
    EvidenceLost,
    InjectionFailed,
    MessageTrimmed,
    ProcessStarted,
    RelayResumed,
    RobotFenced,
    RobotWaiting,
    WorkerCrashed,
    WorkerGaveUp,
    WorkerRestarted,
    WorkerStarted,
)
from telemetry.pipeline import Emitter
from telemetry.verdict.case import case_of
from tests.support.fault_words import fault_words
from tests.verdict.alterations import (
    Damage,
    birth_ms,
    death,
    drop,
    fleet_row,
    injection,
    insert_event,
    lose_journal,
    named,
    reported,
    rows,
)
from tests.verdict.honest_record import living, stopped
from tests.verdict.judged import assert_convicted, assert_unproven, finding, state
from tests.verdict.scribe import END_MS, GO_MS, LATE_MS, ROBOTS, STOP_MS, Files, Scribe, files_of

# Broken promises, each with its witness.


def swallow_a_crash(files: Files) -> None:
    insert_event(files, "r00", 1, WorkerCrashed("inbox_reader", "KeyError: 3"), 300_000)


BREACHES: dict[str, tuple[Damage, str]] = {
    "a crash without a restart": (swallow_a_crash, "of r00/1"),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_convicted_with_a_witness(breach: str, files: Files) -> None:
    assert_convicted(files, "supervised", *BREACHES[breach])


def die_before_the_end(files: Files, robot: str, by_ms: int) -> int:
    """Let the robot's last life have died so long before the stop; gives when."""
    drop(files, "events", named(files, "robot.left", robot)[0])
    death(files, robot, 2 if robot == "r02" else 1, END_MS - by_ms)
    return END_MS - by_ms


# Robots that die.


@pytest.mark.parametrize(("by_ms", "expected"), [(LATE_MS + 1, "BROKEN"), (LATE_MS, "HELD"), (1, "HELD"), (-5, "HELD")])
@pytest.mark.parametrize("is_process_fault", [False, True])
def test_a_robot_that_dies_is_born_again_unless_the_run_ends_first(
    is_process_fault: bool, by_ms: int, expected: str, longer_files: Files
) -> None:
    # Given a robot that died so long before the end and was not born again, also if an injection killed it
    if is_process_fault:
        injection(longer_files, "kill robot", "r01", END_MS - by_ms - 1)
    died_ms = die_before_the_end(longer_files, "r01", by_ms)
    # When it is judged, then it had to be born again if there was time
    assert state(longer_files) == expected
    if expected == "BROKEN":
        assert f"(witness: death of r01/1 at {died_ms})" in finding(longer_files)[1]
        assert "r01/1 was killed (signal 9), and r01 was not started again in 5.0" in finding(longer_files)[1]


@pytest.mark.parametrize(("by_ms", "expected"), [(LATE_MS + 1, "BROKEN"), (LATE_MS, "HELD")])
def test_a_robot_is_born_again_in_time(by_ms: int, expected: str, longer_files: Files) -> None:
    longer_files["fleet"][0]["id"] = f"{birth_ms(longer_files, 'r02', 2) - by_ms}-0"
    assert state(longer_files) == expected


def test_a_process_that_died_before_its_birth_was_a_restart_too(longer_files: Files) -> None:
    # Given a robot that was born again only after twice the time
    at_ms = birth_ms(longer_files, "r02", 2)
    longer_files["fleet"][0]["id"] = f"{at_ms - 2 * LATE_MS}-0"
    assert state(longer_files) == "BROKEN"
    # When the process that was to live next died in between, then each was in time
    death(longer_files, "r02", 1, at_ms - LATE_MS, "lease", 0)
    assert state(longer_files) == "HELD"


def test_the_absence_of_the_server_is_no_delay(longer_files: Files) -> None:
    # Given a birth that was late
    at_ms = birth_ms(longer_files, "r02", 2)
    longer_files["fleet"][0]["id"] = f"{at_ms - 9_000}-0"
    # When the server was restarted meanwhile, then time counts from there
    injection(longer_files, "restart redis", "redis", at_ms + 1)
    injection(longer_files, "restart redis", "redis", at_ms - LATE_MS - 1)
    assert state(longer_files) == "BROKEN"
    injection(longer_files, "restart redis", "redis", at_ms - LATE_MS)
    assert state(longer_files) == "HELD"


def test_a_failed_injection_on_the_server_is_no_absence_unless_the_server_died(longer_files: Files) -> None:
    # Given a birth that was late, and an injection on the server meanwhile
    at_ms = birth_ms(longer_files, "r02", 2)
    longer_files["fleet"][0]["id"] = f"{at_ms - 9_000}-0"
    injection(longer_files, "kill redis", "redis", at_ms - LATE_MS)
    assert state(longer_files) == "HELD"
    # When an event reports a failed injection, then it was no outage if it was this one
    reported(longer_files, InjectionFailed("kill", "relay", "there is no relay now"), at_ms - LATE_MS)
    assert state(longer_files) == "HELD"
    reported(longer_files, InjectionFailed("kill", "redis", "it cannot be done to redis now"), at_ms - LATE_MS)
    assert state(longer_files) == "BROKEN"
    # And when the server died all the same, then time counts from there
    fleet_row(longer_files, at_ms - 100, row="death", victim="redis", robot="", incarnation=0, how="signal", status=-9)
    assert state(longer_files) == "HELD"


def test_a_birth_after_the_stop_is_not_late(longer_files: Files) -> None:
    longer_files["streams"]["orders"][-1]["id"] = f"{birth_ms(longer_files, 'r02', 2) - 9_000 + LATE_MS}-0"
    longer_files["fleet"][0]["id"] = f"{birth_ms(longer_files, 'r02', 2) - 9_000}-0"
    assert "not started again" not in finding(longer_files)[1]


def test_a_death_that_names_no_life_is_followed_by_a_later_birth(longer_files: Files) -> None:
    died_ms = die_before_the_end(longer_files, "r01", 9_000)
    longer_files["fleet"][-1]["incarnation"] = 0
    assert state(longer_files) == "BROKEN"
    control = {"shard": 1, "id": f"{died_ms + 90}-0", "control": "born", "robot": "r01", "incarnation": 2}
    longer_files["plan"].append(control)
    assert "not started again" not in finding(longer_files)[1]


def test_births_that_are_not_recorded_show_nothing(longer_files: Files) -> None:
    longer_files["plan"] = [control for control in longer_files["plan"] if control["control"] == "plan"]
    assert finding(longer_files) == ("UNPROVEN", "r00/1 sent something, and its birth is not in its outbox")


def test_a_robot_without_its_journal_cannot_be_born_again(longer_files: Files) -> None:
    die_before_the_end(longer_files, "r01", 9_000)
    lose_journal(longer_files, "r01")
    assert finding(longer_files)[0] == "UNPROVEN"
    assert "its journal is not there" in finding(longer_files)[1]


def test_a_robot_that_waits_for_an_rq_worker_is_named(longer_files: Files) -> None:
    # Given a robot that died and was not born again
    died_ms = die_before_the_end(longer_files, "r00", 9_000)
    assert state(longer_files) == "BROKEN"
    # When another one was reported to wait, or this one before it died, then that excuses nothing
    reported(longer_files, RobotWaiting("r01", ()), died_ms + 500)
    reported(longer_files, RobotWaiting("r00", ()), died_ms - 1_001)
    assert state(longer_files) == "BROKEN"
    # When it was reported to wait, then no promise is broken, and it is named with the parts that are lacking meanwhile
    reported(longer_files, RobotWaiting("r00", (0, 2)), died_ms + 500)
    why = "r00 waits since its death: no RQ worker is free"
    assert finding(longer_files) == ("UNPROVEN", f"{why}; no living robot holds parts 0, 2")
    # When the parts have come elsewhere until the last report, then none is
    reported(longer_files, RobotWaiting("r00", (), 3), died_ms + 3_500)
    assert finding(longer_files) == ("UNPROVEN", why)
    assert finding(longer_files, "convergent")[0] == "HELD"
    assert "; waiting for an RQ worker at the end: r00" in finding(longer_files, "convergent")[1]


def test_a_robot_that_waited_before_its_last_life_waits_no_more(longer_files: Files) -> None:
    reported(longer_files, RobotWaiting("r02", ()), birth_ms(longer_files, "r02", 2) - 10)
    die_before_the_end(longer_files, "r02", 500)
    assert finding(longer_files, "convergent")[1].endswith("; 1 were not alive")


def test_a_robot_that_waited_and_was_born_then_is_named_and_held(longer_files: Files) -> None:
    fell_ms = birth_ms(longer_files, "r02", 2) - 9_000
    longer_files["fleet"][0]["id"] = f"{fell_ms}-0"
    assert state(longer_files) == "BROKEN"
    reported(longer_files, RobotWaiting("r02", ()), fell_ms + 500)
    assert finding(longer_files)[0] == "HELD"
    assert finding(longer_files)[1].endswith("; waited for an RQ worker: r02")


def test_a_robot_that_was_reported_to_wait_long_before_it_was_born_leaves_a_doubt(longer_files: Files) -> None:
    # Given a robot that was reported to wait, and born twelve seconds later
    born_ms = birth_ms(longer_files, "r02", 2)
    longer_files["fleet"][0]["id"] = f"{born_ms - 12_500}-0"
    reported(longer_files, RobotWaiting("r02", ()), born_ms - 12_000)
    assert finding(longer_files)[0] == "UNPROVEN"
    assert "last reported to wait 12.0 s before its birth" in finding(longer_files)[1]
    # When that was reported again meanwhile, then no promise is broken
    reported(longer_files, RobotWaiting("r02", (), 6), born_ms - 6_000)
    assert finding(longer_files)[0] == "HELD"


# A robot that does not live, without a death that says why.


def fence_at_last(files: Files) -> None:
    drop(files, "events", named(files, "robot.left", "r01")[0])
    insert_event(files, "r01", 1, RobotFenced("journal"), STOP_MS)


def die_fenced_at_last(files: Files) -> None:
    drop(files, "events", named(files, "robot.left", "r01")[0])
    death(files, "r01", 1, STOP_MS - 500, "exit", 75)


def lose_sight_of_the_journal(files: Files) -> None:
    insert_event(files, "r01", 1, EvidenceLost("journal"), STOP_MS)


def never_live(files: Files) -> None:
    files["journals"] = [row for row in files["journals"] if row["robot"] != "r01" or row["id"].startswith("0-")]


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (fence_at_last, "r01/1 ended because a later life exists"),
        (die_fenced_at_last, "r01/1 ended because a later life exists"),
        (lose_sight_of_the_journal, "r01 reports that its journal was lost"),
        (never_live, "r01 was never born"),
    ],
)
def test_a_robot_that_does_not_live_again_leaves_a_doubt(files: Files, damage: Damage, why: str) -> None:
    assert_unproven(files, "supervised", damage, why)


def test_an_end_because_of_a_later_life_requires_nothing(longer_files: Files) -> None:
    # Given the process of an older life that ended late (exit 75), naming the life that goes on
    death(longer_files, "r02", 2, STOP_MS, "exit", 75)
    assert state(longer_files) == "HELD"
    # When it had ended otherwise, then r02/2 would have to be born again
    longer_files["fleet"][-1]["status"] = 70
    assert state(longer_files) == "BROKEN"


def test_a_death_of_a_life_that_sent_something_afterwards_requires_nothing(longer_files: Files) -> None:
    # Given r01, which sent something a minute after a death that named it
    fell_ms = birth_ms(longer_files, "r02", 2) + 1
    row = rows(longer_files, "fates", sender="r01", incarnation=1)[-1]
    longer_files["fates"].append({**row, "id": f"{fell_ms}-9"})
    death(longer_files, "r01", 1, fell_ms)
    assert state(longer_files) == "HELD"
    # Nor if it lost its lease: it lives on, and has no successor
    longer_files["fleet"][-1] |= {"how": "lease", "status": 0}
    assert state(longer_files) == "HELD"
    # When that was before its death, then it had to be born again
    longer_files["fates"] = [kept for kept in longer_files["fates"] if kept["sender"] != "r01"]
    longer_files["fates"].append({**row, "id": f"{fell_ms - 1}-9"})
    assert state(longer_files) == "BROKEN"


def test_a_robot_that_lost_its_lease_counts_as_dead_even_if_it_sends(longer_files: Files) -> None:
    # Given r02/1, whose envelopes of after its death are stale, and whose successor came late
    at_ms = birth_ms(longer_files, "r02", 2)
    longer_files["fleet"][0]["id"] = f"{at_ms - LATE_MS - 1}-0"
    assert rows(longer_files, "fates", fate="stale", sender="r02")
    assert state(longer_files) == "BROKEN"
    # When it was no lost lease, then it was no death of it
    longer_files["fleet"][0]["how"] = "signal"
    assert state(longer_files) == "HELD"


# The budget of robots.


def ended(scribe: Scribe, *events: AnyEvent) -> Files:
    """The record, half a minute later."""
    scribe.emitters["r02"] = Emitter("abc123", "r02", 0, scribe, scribe.take)
    for event in events:
        scribe.emit("r02", event)
    return stopped(scribe, "r00", "r01")


def reborn(scribe: Scribe, pause_ms: int = 600) -> Files:
    """The record, in which r02 is born once more, and lives until the end."""
    scribe.now_ms += pause_ms
    scribe.born("r02")
    return stopped(scribe, *ROBOTS)


GAVE_UP = WorkerGaveUp("r02", 6)


def test_a_robot_whose_budget_is_spent_gives_up_and_reports_it() -> None:
    # Given six deaths within 30 s, and no life after that
    assert finding(ended(living(6), GAVE_UP)) == (
        "HELD",
        "deaths of robots: 6, crashes of workers: 0; restarts followed within the policy; "
        "gave up, as the policy says: r02",
    )
    # When it did not report it, then it is unknown
    assert finding(ended(living(6)))[0] == "UNPROVEN"
    assert finding(ended(living(6), WorkerGaveUp("inbox_reader", 6)))[0] == "UNPROVEN"
    # When its budget was not spent, it had to be born again
    assert state(ended(living(5), GAVE_UP)) == "BROKEN"
    assert state(ended(living(6, life_ms=5_500), GAVE_UP)) == "BROKEN"
    assert state(ended(living(6, life_ms=5_300), GAVE_UP)) == "HELD"


@pytest.mark.parametrize("victim", ["r02", "rq:r02", "redis"])
def test_an_injection_excuses_one_death_after_it(victim: str) -> None:
    # Given six deaths, one of them by an injection: five are charged, and the budget is not spent
    assert state(ended(living(6, injections=(3,), victim=victim), GAVE_UP)) == "BROKEN"
    # When there are seven, then it is
    assert state(ended(living(7, injections=(3,), victim=victim), GAVE_UP)) == "HELD"


@pytest.mark.parametrize("text", ["kill robot", "restart rq:r02", "pause r02", "amnesia r02"])
def test_injections_that_end_processes_excuse(text: str) -> None:
    scribe = living(6)
    scribe.fleet.insert(0, {"id": f"{GO_MS}-0", "row": "injection", **fault_words(text), "victim": "r02"})
    assert state(ended(scribe, GAVE_UP)) == "BROKEN"


@pytest.mark.parametrize(("before_ms", "expected"), [(5_000, "BROKEN"), (5_001, "HELD")])
@pytest.mark.parametrize("victim", ["r02", "rq:r02"])
def test_a_restart_in_order_excuses_a_death_for_five_seconds(victim: str, before_ms: int, expected: str) -> None:
    # Given six deaths, the first of which came so long after a restart
    scribe = living(6)
    died_ms = int(scribe.fleet[0]["id"].partition("-")[0])
    injection_id = f"{died_ms - before_ms}-0"
    scribe.fleet.insert(0, {"id": injection_id, "row": "injection", **fault_words("restart robot"), "victim": victim})
    # Then its report of a spent budget is right if the restart excused none
    assert state(ended(scribe, GAVE_UP)) == expected


@pytest.mark.parametrize(
    ("text", "victim"),
    [("kill robot", "r01"), ("crash r02/orders", "r02/orders"), ("resume r02", "r02"), ("contradict r02", "r02")],
)
def test_other_injections_excuse_nothing(text: str, victim: str) -> None:
    scribe = living(6)
    scribe.fleet.insert(0, {"id": f"{GO_MS}-0", "row": "injection", **fault_words(text), "victim": victim})
    assert state(ended(scribe, GAVE_UP)) == "HELD"


def test_an_injection_on_the_server_excuses_one_death_of_every_robot() -> None:
    scribe = Scribe([])
    scribe.deal()
    for robot in ROBOTS:
        scribe.born(robot)
    scribe.injection("restart", "redis", "redis")
    for robot in ROBOTS:
        scribe.die(robot)
    files = files_of(scribe)
    fallen = case_of("", files, None).fleet.deaths
    assert {robot: [died.is_charged for died in deaths] for robot, deaths in fallen.items()} == {
        robot: [False] for robot in ROBOTS
    }


def test_the_end_of_an_older_process_uses_no_excuse() -> None:
    # Given an injection, and an older life's process that ended first (exit 75)
    scribe = living(6)
    zombie = {**scribe.fleet[0], "status": 75}
    kill = {"id": f"{GO_MS}-0", "row": "injection", **fault_words("kill robot"), "victim": "r02"}
    scribe.fleet[:0] = [kill, {**zombie, "id": f"{GO_MS}-1"}]
    # Then five deaths are charged, and the budget is not spent
    assert state(ended(scribe, GAVE_UP)) == "BROKEN"


def test_an_injection_after_a_death_does_not_excuse_it() -> None:
    scribe = living(6)
    scribe.injection("kill", "robot", "r02")
    assert state(ended(scribe, GAVE_UP)) == "HELD"


def test_no_robot_is_born_again_beyond_the_budget() -> None:
    # Given six deaths, and a birth within 30 s of all of them
    found = finding(reborn(living(6)))
    why = "r02 was born again although 6 charged deaths lie within 30 s (witness: birth of r02/7)"
    assert found == ("BROKEN", why)
    # When there were five, or the first is older, or one was recorded twice, then the policy allows it
    assert state(reborn(living(5))) == "HELD"
    assert state(reborn(living(6, life_ms=5_300))) == "HELD"
    scribe = living(5)
    twin = scribe.fleet[2]
    scribe.fleet.insert(3, {**twin, "id": twin["id"].replace("-0", "-1")})
    milliseconds = int(twin["id"].partition("-")[0])
    scribe.fleet.insert(4, {**twin, "id": f"{milliseconds + 5}-0"})
    assert state(reborn(scribe)) == "HELD"


def test_a_robot_that_gave_up_and_was_born_all_the_same_was_late() -> None:
    # Given a robot that gave up, and was born again when its deaths were old enough
    scribe = living(6, life_ms=5_300)
    scribe.emit("lab", GAVE_UP)
    assert state(reborn(scribe, 600)) == "HELD"
    scribe = living(6, life_ms=5_300)
    scribe.emit("lab", GAVE_UP)
    assert state(reborn(scribe, 9_000)) == "BROKEN"


@pytest.mark.parametrize(("deaths", "shortest_ms"), [(1, 15), (5, 255)])
def test_no_robot_is_born_again_sooner_than_the_policy_delays(deaths: int, shortest_ms: int) -> None:
    # Given a death, charged as the first or fifth: 20 ms, doubled each time, less a fifth, is the least (and the ids of
    # death and birth, being of whole milliseconds, may seem to be closer by one)
    assert state(reborn(living(deaths), shortest_ms - 1)) == "HELD"  # the birth takes a millisecond itself
    # When it was born again a millisecond sooner, then that was too soon
    found = finding(reborn(living(deaths), shortest_ms - 2))
    assert (found[0], f"{deaths}. within 30 s: too soon (witness: birth" in found[1]) == ("BROKEN", True)
    # When an injection had killed it, then no delay was required
    assert state(reborn(living(deaths, injections=[deaths]), 1)) == "HELD"


# Workers that crash.


def crash(files: Files, *reports: tuple[int, AnyEvent]) -> None:
    """Let r00/1 have reported this, at milliseconds of its own clock, before it left 4 s after `go`; and workers that
    were restarted, that they ran again."""
    for at_ms, event in reports:
        insert_event(files, "r00", 1, event, at_ms * 1000)
        if isinstance(event, WorkerRestarted):
            insert_event(files, "r00", 1, WorkerStarted(event.worker), at_ms * 1000 + event.delay_us)


CRASHED = WorkerCrashed("inbox_reader", "KeyError: 3")
INJECTED = WorkerCrashed("inbox_reader", "InjectedCrash: requested")
RESTARTED = WorkerRestarted("inbox_reader", 1, 20_000)
EXCUSED = WorkerRestarted("inbox_reader", 0, 20_000)  # no crash is charged
WENT_ON = MessageTrimmed("1-1")


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        ([(500, CRASHED), (501, RESTARTED)], "HELD"),
        ([(500, CRASHED), (1_524, WENT_ON), (1_525, RESTARTED)], "HELD"),
        ([(500, CRASHED), (1_525, WENT_ON), (1_525, RESTARTED)], "BROKEN"),
        ([(500, CRASHED), (9_000, RESTARTED)], "HELD"),  # it stood still
        ([(500, CRASHED)], "BROKEN"),
        ([(59_000, CRASHED)], "BROKEN"),
        ([(63_999, CRASHED)], "HELD"),  # the life ended
        ([(500, CRASHED), (501, WorkerRestarted("outbox_writer", 1, 20_000))], "BROKEN"),
        ([(500, RESTARTED), (501, CRASHED)], "BROKEN"),
        ([(500, CRASHED), (501, WorkerRestarted("inbox_reader", 1, 15_999))], "BROKEN"),
        ([(500, CRASHED), (501, WorkerRestarted("inbox_reader", 1, 16_000))], "HELD"),
        ([(500, CRASHED), (501, WorkerRestarted("inbox_reader", 1, 24_000))], "HELD"),
        ([(500, CRASHED), (501, WorkerRestarted("inbox_reader", 1, 24_001))], "BROKEN"),
        ([(500, CRASHED), (501, WorkerRestarted("inbox_reader", 0, 20_000))], "BROKEN"),
        ([(500, CRASHED), (501, WorkerRestarted("inbox_reader", 2, 40_000))], "BROKEN"),
        ([(500, CRASHED), (501, WorkerRestarted("inbox_reader", 6, 640_000))], "BROKEN"),
        ([(500, CRASHED), (501, WorkerGaveUp("inbox_reader", 1))], "BROKEN"),
        ([(500, INJECTED), (501, EXCUSED)], "HELD"),
        ([(500, INJECTED), (501, RESTARTED)], "BROKEN"),
        ([(500, INJECTED), (501, WorkerRestarted("inbox_reader", 0, 160_000))], "BROKEN"),
        ([(500, INJECTED), (501, EXCUSED), (600, CRASHED), (601, WorkerRestarted("inbox_reader", 1, 9))], "BROKEN"),
        ([(500, INJECTED), (501, EXCUSED), (600, CRASHED), (601, RESTARTED)], "HELD"),
        ([(500, CRASHED), (501, RESTARTED), (600, CRASHED), (601, RESTARTED)], "BROKEN"),
        (
            [(500, CRASHED), (501, RESTARTED), (600, CRASHED), (601, WorkerRestarted("inbox_reader", 2, 40_000))],
            "HELD",
        ),
        (
            [(500, CRASHED), (501, RESTARTED), (600, INJECTED), (601, WorkerRestarted("inbox_reader", 1, 20_000))],
            "HELD",
        ),
        ([(500, INJECTED)], "BROKEN"),
    ],
)
def test_a_crash_is_followed_by_what_the_policy_demands(
    reports: list[tuple[int, AnyEvent]], expected: str, longer_files: Files
) -> None:
    named(longer_files, "robot.left", "r00")[0]["monotonic_us"] = 64_000_000
    crash(longer_files, *reports)
    assert state(longer_files) == expected, finding(longer_files)


def restart_number(number: int) -> WorkerRestarted:
    return WorkerRestarted("inbox_reader", number, 20_000 * 2 ** (number - 1))


@pytest.mark.parametrize(("apart_ms", "expected"), [(1_000, "BROKEN"), (5_980, "HELD")])
def test_no_worker_is_restarted_beyond_its_budget(apart_ms: int, expected: str, longer_files: Files) -> None:
    # Given six crashes, each followed by a restart, of which the last calls itself the fifth
    named(longer_files, "robot.left", "r00")[0]["monotonic_us"] = 64_000_000
    for number in range(6):
        at_ms = 500 + number * apart_ms
        crash(longer_files, (at_ms, CRASHED), (at_ms + 1, restart_number(min(5, number + 1))))
    # Then the sixth within 30 s should have been given up
    assert state(longer_files) == expected, finding(longer_files)


@pytest.mark.parametrize(("later_ms", "number", "expected"), [(29_800, 1, "BROKEN"), (30_000, 1, "HELD")])
@pytest.mark.parametrize("is_whole", [True, False])
def test_a_crash_counts_for_thirty_seconds(
    later_ms: int, number: int, expected: str, is_whole: bool, longer_files: Files
) -> None:
    # Given two crashes so long after one another, and a second restart that calls itself the first
    named(longer_files, "robot.left", "r00")[0]["monotonic_us"] = 64_000_000
    crash(longer_files, (500, CRASHED), (501, restart_number(1)))
    crash(longer_files, (500 + later_ms, CRASHED), (501 + later_ms, restart_number(number)))
    if not is_whole:
        drop(longer_files, "events", named(longer_files, "worker.started", "r00")[0])
    assert state(longer_files) == (expected if is_whole or expected == "BROKEN" else "UNPROVEN")
    assert (expected == "BROKEN") == ("as after crash 1 within 30 s, but it was crash 2" in str(finding(longer_files)))


def test_crashes_that_are_not_recorded_may_explain_a_higher_number(longer_files: Files) -> None:
    named(longer_files, "robot.left", "r00")[0]["monotonic_us"] = 64_000_000
    crash(longer_files, (500, CRASHED), (501, restart_number(1)), (600, CRASHED), (641, restart_number(2)))
    drop(longer_files, "events", named(longer_files, "worker.crashed", "r00")[0])
    assert state(longer_files) == "UNPROVEN"


@pytest.mark.parametrize(("after_us", "expected"), [(0, "BROKEN"), (14_999, "BROKEN"), (15_000, "HELD")])
def test_a_worker_runs_again_no_sooner_than_its_delay(after_us: int, expected: str, longer_files: Files) -> None:
    crash(longer_files, (500, CRASHED), (501, RESTARTED))
    named(longer_files, "worker.started", "r00")[0]["monotonic_us"] = 501_000 + after_us
    assert state(longer_files) == expected
    assert expected == "HELD" or "and ran again after" in finding(longer_files)[1]


def test_a_worker_is_given_up_when_its_budget_is_spent(longer_files: Files) -> None:
    for number in range(5):
        crash(longer_files, (500 + number * 10, WorkerCrashed(f"w{number}", "x")))
        crash(longer_files, (501 + number * 10, WorkerRestarted(f"w{number}", number + 1, 20_000 * 2**number)))
    crash(longer_files, (600, CRASHED), (601, WorkerGaveUp("inbox_reader", 6)))
    assert state(longer_files) == "HELD"
    # But an injected crash is not charged
    named(longer_files, "worker.crashed")[4]["event"]["error"] = "InjectedCrash: requested"
    named(longer_files, "worker.restarted")[4]["event"] |= {"restart": 4, "delay_us": 20_000}
    named(longer_files, "worker.started")[4]["monotonic_us"] = 561_000
    assert "given up although only 5 crashes" in finding(longer_files)[1]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "BROKEN"),
        ({"how": "signal", "status": -9}, "HELD"),
        ({"status": 75}, "HELD"),
        ({"incarnation": 2}, "HELD"),
        ({"at_ms": 1_002}, "HELD"),
    ],
)
def test_a_crash_that_takes_its_siblings_down_is_broken(
    change: dict[str, Any], expected: str, longer_files: Files
) -> None:
    # Given r02/1, which ended by itself just after a worker's crash within the policy
    last = max(
        (row for row in longer_files["events"] if (row["source"], row["incarnation"]) == ("r02", 1)),
        key=lambda r: r["number"],
    )
    for number, event in enumerate((CRASHED, RESTARTED), start=1):
        longer_files["events"].append({**last, "number": last["number"] + number, "event": msgspec.to_builtins(event)})
    at_ms = last["wall_us"] // 1000 + change.pop("at_ms", 0)
    longer_files["fleet"][0] |= {"id": f"{at_ms}-0", "how": "exit", "status": 1} | change
    # Then it was the crash, unless its process was killed, fenced, or ended otherwise
    assert state(longer_files) == expected, finding(longer_files)
    # And not when an injection had ended it
    injection(longer_files, "restart rq:r02", "rq:r02", at_ms - 1)
    assert state(longer_files) == "HELD"


@pytest.mark.parametrize(
    ("noticed_ms", "worker", "expected"),
    [
        (1, "orders", "HELD"),
        (5_999, "orders", "HELD"),
        (6_001, "orders", "BROKEN"),
        (-1_383, "orders", "HELD"),  # it had just crashed by itself, and was not back yet
        (-1_385, "orders", "BROKEN"),
        (1, "inbox_reader", "BROKEN"),
    ],
)
def test_an_injected_crash_is_noticed(noticed_ms: int, worker: str, expected: str, longer_files: Files) -> None:
    # Given an injection that crashed a worker of r00, which went on for long
    due_ms = STOP_MS + 10_000
    injection(longer_files, "crash r00/orders", "r00/orders", due_ms)
    left = named(longer_files, "robot.left", "r00")[0]
    left |= {"wall_us": END_MS * 1000, "monotonic_us": 64_000_000}
    assert state(longer_files) == "BROKEN"
    # When it reported a crash, then it must be of this worker, and of that time
    crash(
        longer_files,
        (63_000, WorkerCrashed(worker, "InjectedCrash: requested")),
        (63_001, WorkerRestarted(worker, 0, 20_000)),
    )
    named(longer_files, "worker.crashed")[0]["wall_us"] = (due_ms + noticed_ms) * 1000
    assert state(longer_files) == expected
    # And nothing is required if the injection failed, or the life ended before it could be known
    failed = longer_files | {"events": list(longer_files["events"])}
    reported(failed, InjectionFailed("crash", "r00/orders", "no such worker"), due_ms)
    assert state(failed) == "HELD"
    left["wall_us"] = (due_ms + 5_999) * 1000
    assert state(longer_files) == "HELD"


# Relays.


def test_a_relay_that_died_is_replaced(longer_files: Files) -> None:
    # Given a relay that died after all entries had their fates, and long before the end
    fleet_row(
        longer_files, END_MS - 20_000, row="death", victim="relay:0", robot="", incarnation=0, how="signal", status=-9
    )
    found = finding(longer_files)
    assert (found[0], "relay of shard 0 died" in found[1]) == ("UNPROVEN", True)
    # When a later one is reported, or decided later entries, then it was
    for event in (ProcessStarted("relay:0", 5), RelayResumed(0, 3)):
        for at_ms, expected in ((END_MS - 19_000, "HELD"), (END_MS - 21_000, "UNPROVEN")):
            replaced = longer_files | {"events": list(longer_files["events"])}
            reported(replaced, event, at_ms)
            assert state(replaced) == expected
    decided = {**rows(longer_files, "fates", shard=0)[-1], "id": f"{END_MS - 19_000}-0"}
    assert state(longer_files | {"fates": [*longer_files["fates"], decided]}) == "HELD"
    # When it died at the very end, or in order, then no successor is required
    longer_files["fleet"][-1] |= {"how": "exit", "status": 0}
    assert state(longer_files) == "HELD"
    longer_files["fleet"][-1] |= {"id": f"{END_MS - 5_000}-0", "status": 1}
    assert state(longer_files) == "HELD"


def gap(files: Files, until_ms: int, away_ms: int) -> None:
    """Let no supervisor have led the run for so long, until then."""
    files["fleet"].append({"id": f"{until_ms}-0", "row": "leadership_gap", "away_us": away_ms * 1000})


def test_a_time_without_a_leader_is_no_delay(longer_files: Files) -> None:
    # Given a robot that was born again 8.5 s after its death
    born_ms = birth_ms(longer_files, "r02", 2)
    longer_files["fleet"][0]["id"] = f"{born_ms - 8_500}-0"
    assert finding(longer_files)[0] == "BROKEN"
    # When no supervisor led the run for 3.5 s of that, then 2.5 s and 2.5 s are left, and the verdict says so
    gap(longer_files, born_ms - 2_500, 3_500)
    assert finding(longer_files)[0] == "HELD"
    assert finding(longer_files)[1].endswith("; no supervisor led for up to 3.5 s of that")


def test_a_time_without_a_leader_excuses_no_delay_before_it_or_after_it(longer_files: Files) -> None:
    # Given a robot that was born again 14 s after its death
    born_ms = birth_ms(longer_files, "r02", 2)
    longer_files["fleet"][0]["id"] = f"{born_ms - 14_000}-0"
    # When none led for 3 s, but one had led for 8 s before, or led for 8 s afterwards, then it is too late
    for until_ms in (born_ms - 3_000, born_ms - 8_000):
        altered = longer_files | {"fleet": list(longer_files["fleet"])}
        gap(altered, until_ms, 3_000)
        assert finding(altered)[0] == "BROKEN"
        assert "in 8.00 s" in finding(altered)[1]
