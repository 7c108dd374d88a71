"""The steps of the knobs, and the requests that a change of one makes."""

from __future__ import annotations

import pytest

from broker.faults.grammar import parse_lines
from telemetry.drawing.faults.knobs import (
    HALVES,
    KNOBS,
    OFF,
    Change,
    Knob,
    change,
    halves,
    knob_named,
    setting_of,
    stepped,
)
from tests.telemetry.knobs.scripted import Script

LOSS, DELAY, PARTITION = map(knob_named, ("loss", "delay", "partition"))


@pytest.mark.parametrize(
    ("now", "by", "then"),
    [
        *((OFF, 1, "0.01"), ("0.3", 1, "0.4"), ("0.3", -1, "0.2"), ("0.33", 1, "0.4"), ("0.33", -1, "0.3")),
        *(("1", 1, "1"), (OFF, -1, OFF), ("0.01", -1, OFF), ("0.005", -1, OFF), ("nonsense", 1, "0.01")),
    ],
)
def test_a_probability_steps_to_the_next_rung(now: str, by: int, then: str) -> None:
    assert stepped(LOSS, now, by) == then


def test_a_delay_that_is_no_preset_steps_to_the_first_or_off() -> None:
    assert (stepped(DELAY, "7ms", 1), stepped(DELAY, "7ms", -1)) == ("5ms..20ms", OFF)
    assert stepped(DELAY, "200ms~1", 1) == "200ms~1"


@pytest.mark.parametrize("target", ["", "r03"])
@pytest.mark.parametrize("knob", KNOBS, ids=lambda knob: knob.name)
def test_every_step_is_a_fault_that_the_grammar_reads_and_that_the_knob_then_shows(knob: Knob, target: str) -> None:
    for step in knob.steps[1:]:
        # When the change is made, and a relay reports it
        script = Script().begin().plan(1)
        wanted = change(script.scene, knob, target, step)
        (line,) = parse_lines(wanted.set)
        script.plan(2, line.fault.text())
        # Then the knob stands there
        shown = setting_of(script.scene, knob, target)
        assert wanted.clears == ()
        assert shown == (line.fault.text().removeprefix("partition ") if knob is PARTITION else step)
        # and off clears just that
        assert change(script.scene, knob, target, OFF) == Change("", (line.fault.text(),))


def test_a_change_for_one_robot_sets_the_new_fault_and_then_clears_the_old_one() -> None:
    script = Script().begin().plan(1, "loss 0.2", "loss 0.5 r03")

    assert change(script.scene, LOSS, "r03", "0.6") == Change("loss 0.6 r03", ("loss 0.5 r03",))
    assert change(script.scene, LOSS, "", "0.3") == Change("loss 0.3", ())
    assert change(script.scene, LOSS, "", OFF) == Change("", ("loss 0.2",))


def test_a_knob_shows_what_is_in_force_for_its_target_alone() -> None:
    script = Script().begin().plan(1, "burst-loss 0.3 5", "loss 0.5 r03", "duplicate 0.2 x3", "delay 5ms r00>r03")

    assert setting_of(script.scene, LOSS, "") == OFF
    assert setting_of(script.scene, LOSS, "r03") == "0.5"
    assert setting_of(script.scene, knob_named("duplicate"), "") == "0.2 x3"
    assert setting_of(script.scene, DELAY, "r03") == OFF


def test_nothing_is_known_before_a_relay_reported_its_plan() -> None:
    assert setting_of(Script("loss 0.2").begin().scene, LOSS, "") is None


def test_halves_are_the_first_robots_against_the_others() -> None:
    assert halves(["r00", "r01", "r02", "r03", "r04"]) == "r00..r02|r03..r04"
    assert halves(["r00", "r01"]) == "r00|r01"
    assert HALVES in PARTITION.steps
