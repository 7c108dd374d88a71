"""Late beat and stuck robot: silence by the observer's time."""

import pytest

from telemetry.anomalies.catalogue import LATE_BEAT, STUCK_ROBOT
from telemetry.events import (
    AnyEvent,
    FaultInjected,
    PartsMerged,
    ProcessDied,
    RobotBorn,
    RobotComplete,
    RobotLeft,
    RobotLost,
    RobotWaiting,
    TicksExecuted,
)
from tests.telemetry.anomalies.scene import TICK_US, Scene


def merged(held: int) -> PartsMerged:
    return PartsMerged("r00", 1, 1, 0, (held,), held)


def test_a_robot_that_is_silent_for_fifteen_ticks_is_late_until_its_next_event() -> None:
    # Given a robot that stops
    scene = Scene()
    scene.live(10)
    scene.live(20, silent=["r02"])
    # Then it is late fifteen ticks after its last event
    [(began, about)] = scene.begun(LATE_BEAT)
    assert (about, 23 < began < 25.5) == ("r02", True)
    # and not any more with its next one
    assert scene.ended(LATE_BEAT) == []
    scene.live(1)
    assert [about for _, about in scene.ended(LATE_BEAT)] == ["r02"]


def test_the_rule_waits_for_no_event() -> None:
    scene = Scene()
    scene.live(5)
    scene.wait(16)

    assert len(scene.begun(LATE_BEAT)) == 4


def test_a_passive_robot_that_reports_every_ten_ticks_is_not_late() -> None:
    scene = Scene()
    for _ in range(10):
        scene.live(11, silent=["r02"])
        scene.emit("r02", TicksExecuted(5))

    assert scene.begun(LATE_BEAT) == []


@pytest.mark.parametrize(
    ("source", "event"),
    [
        ("r02", RobotLeft("complete")),
        ("lab", FaultInjected("kill", "robot", "r02")),
        ("lab", FaultInjected("restart", "rq:r02", "rq:r02")),
        ("lab", ProcessDied("rq:r02", 1, -9)),
        ("lab", ProcessDied("r02", 0, -9)),
        ("lab", RobotLost("r02", "worker")),
        ("lab", RobotWaiting("r02", ())),
    ],
    ids=str,
)
def test_a_robot_that_does_not_live_is_not_late(source: str, event: AnyEvent) -> None:
    # Given a robot whose life ended
    scene = Scene()
    scene.live(5)
    scene.emit(source, event)
    scene.live(30, silent=["r02"])
    assert scene.begun(LATE_BEAT) == []
    # and is late again only in its next life
    scene.emit("r02", RobotBorn(2, 2), incarnation=2)
    scene.emit("r02", TicksExecuted(1), incarnation=2)
    scene.live(20, silent=["r02"])
    assert [about for _, about in scene.begun(LATE_BEAT)] == ["r02"]


def test_a_robot_that_goes_on_after_a_kill_that_was_only_requested_counts_as_alive() -> None:
    scene = Scene()
    scene.live(5)
    scene.emit("lab", FaultInjected("kill", "r02", "r02"))
    scene.live(5)
    scene.live(20, silent=["r02"])

    assert [about for _, about in scene.begun(LATE_BEAT)] == ["r02"]


def test_what_a_killed_robot_had_emitted_before_does_not_make_it_alive() -> None:
    scene = Scene()
    scene.live(5)
    scene.emit("lab", FaultInjected("kill", "r02", "r02"))
    scene.now_us += TICK_US // 2
    scene.emit("r02", TicksExecuted(1))
    scene.live(30, silent=["r02"])

    assert scene.begun(LATE_BEAT) == []


def test_a_robot_that_is_paused_is_late() -> None:
    scene = Scene()
    scene.live(5)
    scene.emit("lab", FaultInjected("pause", "r02", "r02"))
    scene.live(20, silent=["r02"])

    assert [about for _, about in scene.begun(LATE_BEAT)] == ["r02"]


def test_what_an_older_life_emits_is_no_sign_of_the_present_one() -> None:
    scene = Scene()
    scene.emit("r02", RobotBorn(2, 2), incarnation=2)
    scene.emit("r02", TicksExecuted(1), incarnation=2)
    scene.live(20)  # of the first life

    assert [about for _, about in scene.begun(LATE_BEAT)] == ["r02"]


def test_a_robot_that_waits_for_the_order_go_is_not_late() -> None:
    scene = Scene()
    scene.emit("r04", RobotBorn(2, 0))
    scene.live(40)

    assert scene.begun(LATE_BEAT) == []


def test_while_the_observer_stands_still_no_silence_counts() -> None:
    # Given an observer that takes no step for a minute
    scene = Scene()
    scene.live(5)
    scene.now_us += 60_000_000
    scene.wait(2)
    # When the robots' events are read afterwards
    scene.live(5)
    # Then none was late
    assert scene.begun(LATE_BEAT) == []


def test_a_robot_to_which_nothing_new_comes_is_stuck_while_another_holds_more() -> None:
    # Given a robot that holds less than another, and merges nothing
    scene = Scene()
    scene.emit("r00", merged(5))
    scene.live(25)
    # Then all that are behind are stuck after twenty ticks
    begun = scene.begun(STUCK_ROBOT)
    assert [about for _, about in begun] == ["r01", "r02", "r03"]
    assert all(20 <= at <= 21 for at, _ in begun)
    # and a merge ends it
    scene.emit("r02", merged(3))
    scene.live(1)
    assert [about for _, about in scene.ended(STUCK_ROBOT)] == ["r02"]


def test_a_robot_that_learns_now_and_then_is_not_stuck() -> None:
    scene = Scene(["r00", "r01"])
    scene.emit("r00", merged(9))
    for held in (3, 4, 5, 6):
        scene.live(15)
        scene.emit("r01", merged(held))

    assert scene.begun(STUCK_ROBOT) == []


def test_a_stuck_robot_that_becomes_complete_is_not_stuck_any_more() -> None:
    scene = Scene(["r00", "r01"])
    scene.emit("r00", merged(5))
    scene.live(22)
    assert len(scene.begun(STUCK_ROBOT)) == 1
    scene.emit("r01", RobotComplete(2))
    scene.live(1)

    assert len(scene.ended(STUCK_ROBOT)) == 1


@pytest.mark.parametrize("event", [RobotComplete(2), RobotLeft("complete")], ids=["complete", "left"])
def test_a_robot_that_is_complete_or_dead_is_not_stuck(event: AnyEvent) -> None:
    scene = Scene(["r00", "r01"])
    scene.emit("r00", merged(5))
    scene.live(10)
    scene.emit("r01", event)
    scene.live(30, silent=["r01"] if isinstance(event, RobotLeft) else [])

    assert scene.begun(STUCK_ROBOT) == []


def test_time_in_which_no_living_robot_holds_more_does_not_count() -> None:
    # Given the only robot that holds more, dead for a long time
    scene = Scene(["r00", "r01", "r02"])
    scene.emit("r00", merged(5))
    scene.live(5)
    scene.emit("lab", ProcessDied("r00", 0, -9))
    scene.live(50, silent=["r00"])
    # When it lives again, and the others do not learn from it
    scene.emit("r00", RobotBorn(5, 5), incarnation=2)
    scene.emit("r00", TicksExecuted(1), incarnation=2)
    born_us = scene.now_us
    for _ in range(22):
        scene.emit("r00", TicksExecuted(1), incarnation=2)
        scene.live(1, silent=["r00"])
    # Then they are stuck twenty ticks later, not at once
    begun = scene.begun(STUCK_ROBOT)
    assert [about for _, about in begun] == ["r01", "r02"]
    assert all(at - born_us / TICK_US >= 20 for at, _ in begun)
