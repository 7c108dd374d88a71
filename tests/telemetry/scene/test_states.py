"""Each robot's one word: every one of them, by the events that lead to it."""

from __future__ import annotations

from typing import get_args

import pytest

from telemetry.anomalies.catalogue import STUCK_ROBOT
from telemetry.drawing.marks import TONES, Marks
from telemetry.events import (
    AnomalyBegan,
    EvidenceLost,
    FaultInjected,
    PartsMerged,
    PlanChanged,
    RobotBorn,
    RobotComplete,
    RobotLeft,
    RobotPassive,
    RobotQuiet,
    RobotWaiting,
    RunStopped,
    SecretWritten,
)
from telemetry.scene.states import State, states_of
from tests.support.scenes import MadeScene


def made() -> MadeScene:
    """Three robots, and a part each at the first two."""
    return MadeScene({0: ["r00"], 1: ["r01"]}, robots=3)


def completed(lab: MadeScene, robot: str) -> None:
    lab.event(100, robot, PartsMerged("r01", 1, 1, 0, (0, 1), 2))
    lab.event(100, robot, RobotComplete(2))


def word(lab: MadeScene, robot: str) -> State:
    return states_of(lab.scene)[robot]


def test_a_robot_gossips_until_it_is_complete_then_it_is_quiet_then_it_has_written() -> None:
    lab = made()
    assert word(lab, "r00") == "gossiping"

    completed(lab, "r00")
    assert word(lab, "r00") == "complete"

    lab.event(900, "r00", RobotQuiet(5))
    assert word(lab, "r00") == "quiet"

    lab.event(950, "r00", SecretWritten(9, "memory"))
    assert word(lab, "r00") == "wrote"


def test_a_robot_that_only_answers_is_passive_until_its_next_life() -> None:
    lab = made()
    completed(lab, "r00")
    lab.event(200, "r00", RobotPassive())
    assert word(lab, "r00") == "passive"

    lab.event(300, "r00", RobotBorn(2, 3), incarnation=2)
    assert word(lab, "r00") == "complete"


def test_a_robot_that_was_killed_is_away_until_it_is_born_again() -> None:
    lab = made()
    lab.event(300, "lab", FaultInjected("kill", "robot", "r02"))
    assert word(lab, "r02") == "away"

    lab.event(350, "r02", RobotBorn(0, 0), incarnation=2)
    assert word(lab, "r02") == "gossiping"


def test_a_kill_that_was_only_requested_leaves_no_robot_away_that_goes_on() -> None:
    lab = made()
    lab.event(300, "lab", FaultInjected("kill", "robot", "r02"))

    lab.event(700, "r02", PartsMerged("r00", 1, 1, 0, (0,), 1))

    assert word(lab, "r02") == "gossiping"


def test_a_robot_that_lost_its_journal_is_dead() -> None:
    lab = made()
    lab.event(300, "r02", EvidenceLost("journal"))

    assert word(lab, "r02") == "dead"


@pytest.mark.parametrize(("verb", "expected"), [("pause", "paused"), ("resume", "gossiping")])
def test_a_robot_is_paused_until_it_is_resumed(verb: str, expected: str) -> None:
    lab = made()
    lab.event(300, "lab", FaultInjected("pause", "r02", "r02"))
    lab.event(400, "lab", FaultInjected(verb, "r02", "r02"))

    assert word(lab, "r02") == expected


def test_a_robot_without_an_rq_worker_waits() -> None:
    lab = made()
    lab.event(300, "lab", RobotWaiting("r02", ()))

    assert word(lab, "r02") == "waiting"


def test_a_robot_with_a_link_to_no_other_is_cut_off_at_the_end_of_its_run_too() -> None:
    # Given a partition that leaves r02 alone
    lab = made()
    lab.event(300, "relay:0", PlanChanged(0, (), ("partition r02|r00..r01",)))
    assert word(lab, "r02") == "cut off"
    assert word(lab, "r00") == "gossiping"
    # When the run is stopped, and its plan cleared so that the relays can end
    lab.event(900, "lab", RunStopped("limit"))
    lab.event(910, "relay:0", PlanChanged(0, ("partition r02|r00..r01",), ()))
    lab.event(920, "r02", RobotLeft("limit"))
    # Then its word is what it was
    assert word(lab, "r02") == "cut off"


def test_a_robot_is_stuck_while_that_anomaly_stands() -> None:
    lab = made()
    lab.event(3000, "lab", AnomalyBegan(STUCK_ROBOT, "r02", "it lacks parts"))

    assert word(lab, "r02") == "stuck"


def test_the_end_of_a_run_takes_no_robots_word_away() -> None:
    lab = made()
    completed(lab, "r00")
    lab.event(900, "lab", RunStopped("limit"))
    for robot in ("r00", "r01"):
        lab.event(910, robot, RobotLeft("limit"))

    assert word(lab, "r00") == "complete"
    assert word(lab, "r01") == "gossiping"


def test_a_robot_that_leaves_a_run_that_goes_on_has_left() -> None:
    lab = made()
    lab.event(300, "r02", RobotLeft("stopped"))

    assert word(lab, "r02") == "left"


def test_a_robot_that_was_not_born_yet_is_unborn() -> None:
    lab = MadeScene({0: ["r00"]}, robots=1)
    lab.scene.holders[1] = ("r01",)
    lab.scene.dealt["r01"] = 2

    assert word(lab, "r01") == "unborn"


@pytest.mark.parametrize("is_ascii", [False, True])
def test_every_word_has_a_mark_of_its_own_and_a_tone(is_ascii: bool) -> None:
    marks = Marks(is_ascii).states

    assert set(marks) == set(TONES) == set(get_args(State))
    assert len(set(marks.values())) == len(marks)
