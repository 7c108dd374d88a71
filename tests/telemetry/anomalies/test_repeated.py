"""Restart storm and flapping quiet: several of a kind in a short time, by the events' own stamps."""

from telemetry.anomalies.catalogue import FLAPPING_QUIET, RESTART_STORM
from telemetry.events import RobotBorn, RobotDisturbed, RobotStarted, WorkerRestarted
from tests.telemetry.anomalies.scene import TICK_US, Scene


def born_again(scene: Scene, life: int) -> None:
    scene.emit("r03", RobotBorn(2, 2), incarnation=life)
    scene.emit("r03", RobotStarted(), incarnation=life)


def test_the_third_birth_after_the_first_within_a_hundred_ticks_is_a_storm_until_fifty_ticks_pass_without_one() -> None:
    # Given a robot that is born again and again
    scene = Scene()
    for life in (2, 3, 4):
        assert scene.begun(RESTART_STORM) == []
        scene.live(20)
        assert scene.begun(RESTART_STORM) == []
        born_again(scene, life)
    # When the third one was read
    scene.wait(1)
    # Then the storm is told at once
    assert [about for _, about in scene.begun(RESTART_STORM)] == ["r03"]
    # and is over fifty ticks after the last birth
    scene.live(45)
    assert scene.ended(RESTART_STORM) == []
    scene.live(10)
    [(ended, about)] = scene.ended(RESTART_STORM)
    assert (about, 110 <= ended <= 111) == ("r03", True)


def test_births_far_apart_and_births_of_different_robots_are_no_storm() -> None:
    scene = Scene()
    for life in (2, 3, 4):
        scene.live(60)
        born_again(scene, life)
    for robot in ("r00", "r01", "r02"):
        scene.emit(robot, RobotBorn(2, 2), incarnation=2)
    scene.live(20)

    assert scene.begun(RESTART_STORM) == []


def test_restarts_of_one_worker_are_a_storm_and_of_three_workers_are_none() -> None:
    # Given three workers that were restarted once each
    scene = Scene()
    for worker in ("secret_merger", "inbox_reader", "outbox_writer"):
        scene.emit("r03", WorkerRestarted(worker, 1, 0))
        scene.live(2)
    assert scene.begun(RESTART_STORM) == []
    # When one of them is restarted twice more
    for number in (2, 3):
        scene.emit("r03", WorkerRestarted("secret_merger", number, 0))
        scene.live(2)
    # Then it is named
    assert [about for _, about in scene.begun(RESTART_STORM)] == ["r03/secret_merger"]


def test_what_happened_over_a_long_time_and_is_read_at_once_is_no_storm() -> None:
    scene = Scene()
    scene.live(300)
    for life, age_ticks in ((2, 250), (3, 130), (4, 10)):
        scene.emit("r03", RobotBorn(2, 2), incarnation=life, age_us=age_ticks * TICK_US)
    scene.wait(1)

    assert scene.begun(RESTART_STORM) == []


def test_a_robot_that_is_disturbed_three_times_flaps() -> None:
    # Given two disturbances
    scene = Scene()
    for _ in range(2):
        scene.emit("r01", RobotDisturbed())
        scene.live(10)
    assert scene.begun(FLAPPING_QUIET) == []
    # When a third comes
    scene.emit("r01", RobotDisturbed())
    scene.live(60)
    # Then it flaps, and for fifty ticks
    [(began, about)] = scene.begun(FLAPPING_QUIET)
    [(ended, _)] = scene.ended(FLAPPING_QUIET)
    assert about == "r01"
    assert 49 < ended - began < 52
