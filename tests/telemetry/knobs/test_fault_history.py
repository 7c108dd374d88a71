"""What a scene knows of the faults of a run: since when they are in force, until when, and what was measured since."""

from __future__ import annotations

import pytest

from telemetry.events import FaultInjected, InjectionFailed
from telemetry.scene.rates import Rate, rate_of
from tests.telemetry.knobs.scripted import GO_US, Script

SPLIT = "partition hold r00..r02|r03..r05"


def times_of(script: Script) -> list[tuple[str, float, float | None]]:
    """Each fault in force, and its begin and end in milliseconds after go."""
    return [
        (text, (since_us - GO_US) / 1000, None if ends_us is None else (ends_us - GO_US) / 1000)
        for text, since_us, ends_us in script.scene.faults.in_force(script.scene.go_us)
    ]


def test_a_fault_that_stays_while_others_change_keeps_its_beginning() -> None:
    script = Script().begin().plan(10, "loss 0.1", "delay 5ms").plan(900, "loss 0.1").plan(950, "loss 0.1", "delay 5ms")

    assert times_of(script) == [("loss 0.1", 10, None), ("delay 5ms", 950, None)]


def test_of_several_relays_the_first_to_apply_a_fault_counts_and_each_request_is_kept_once() -> None:
    # Given two relays, of which now one and now the other is first
    script = Script(shards=2).begin()
    script.plan(10, "loss 0.1", request="set loss .1", shard=1).plan(12, "loss 0.1", request="set loss .1")
    script.plan(20, "loss 0.2", request="set loss .2").plan(22, "loss 0.2", request="set loss .2", shard=1)

    assert times_of(script) == [("loss 0.2", 20, None)]
    assert [request.text for request in script.scene.faults.requests] == ["set loss .1", "set loss .2"]


def test_the_end_of_a_dated_fault_is_known_from_the_plan_and_from_a_request() -> None:
    planned = Script(f"{SPLIT} @2s+3s").begin().plan(2004, SPLIT)
    requested = Script().begin().plan(2004, SPLIT, request=f"set loss .1 @9s+1s; {SPLIT} @0s+4s")

    assert times_of(planned) == [(SPLIT, 2004, 5000)]
    assert times_of(requested) == [(SPLIT, 2004, 6004)]


def test_the_end_of_a_fault_that_comes_again_is_the_one_of_this_time() -> None:
    script = Script("loss 0.9 r03 @1s+500ms every 2s").begin()
    script.plan(1003, "loss 0.9 r03").plan(1502).plan(5003, "loss 0.9 r03")

    assert times_of(script) == [("loss 0.9 r03", 5003, 5500)]


def test_a_text_that_is_no_fault_is_kept_as_it_is_and_stops_nothing() -> None:
    script = Script("\x1b[31m @1s+1s", " ").begin().plan(1, "\x1b[31m", "", request="set \x1b[31m @0s+1s; ;")

    assert [fault[0] for fault in times_of(script)] == ["\x1b[31m", ""]


def test_what_was_measured_counts_from_the_change_of_its_own_faults() -> None:
    # Given a loss, and envelopes under it
    script = Script().begin().plan(1, "loss 0.1").fates(100, 100, lost=12, duplicated=3)
    # When only another fault changes
    script.plan(200, "loss 0.1", "delay 5ms").fates(300, 100, lost=8, delayed=92)
    # Then the loss is measured on
    assert rate_of("loss", script.scene.faults.measured("loss")) == Rate(20, 200)
    # but when the loss changes, it begins anew, behind the batch of which a part was decided before
    script.plan(400, "loss 0.5", "delay 5ms").fates(401, 20, lost=3).fates(500, 100, lost=52, delayed=48)
    assert rate_of("loss", script.scene.faults.measured("loss")) == Rate(52, 100)
    assert rate_of("duplicate", script.scene.faults.measured("duplicate")) == Rate(3, 320 - 75)


def test_a_copy_of_a_scene_does_not_see_what_comes_later() -> None:
    script = Script().begin().plan(1, "loss 0.1").fates(10, 100, lost=10)
    copied = script.scene.copy()

    script.plan(20, "loss 0.9", request="set loss .9").fates(30, 9).fates(40, 100, lost=90)
    script.emit(50, "supervisor", FaultInjected("kill", "r01", "r01"))

    assert [fault.text for fault in copied.faults.in_force(GO_US)] == ["loss 0.1"]
    assert copied.faults.measured("loss").lost == 10
    assert (list(copied.faults.requests), list(copied.faults.injections), copied.faults.done) == ([], [], {})


def test_injections_are_counted_by_verb_and_failures_apart() -> None:
    script = Script().begin()
    for number in range(3):
        script.emit(number, "supervisor", FaultInjected("kill", "robot", f"r0{number}"))
    script.emit(9, "supervisor", InjectionFailed("kill", "r05", "it is dead"))

    assert (script.scene.faults.done, script.scene.faults.failed) == ({"kill": 3}, 1)
    assert [each.victim for each in script.scene.faults.injections] == ["r00", "r01", "r02", ""]


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(312, 1489, 0.1896, 0.2309), (0, 100, 0.0, 0.0370), (100, 100, 0.9630, 1.0), (1, 2, 0.0945, 0.9055)],
)
def test_a_band_is_wilsons(hits: int, trials: int, low: float, high: float) -> None:
    assert Rate(hits, trials).band == pytest.approx((low, high), abs=1e-3)


def test_of_nothing_no_rate_is_known() -> None:
    assert (Rate(0, 0).share, Rate(0, 0).band) == (None, None)
