"""Unheard robot and deaf robot: what one robot sends, or what is sent to it, does not arrive."""

from telemetry.anomalies.catalogue import DEAF_ROBOT, UNHEARD_ROBOT
from telemetry.events import ProcessDied, RobotBorn, TicksExecuted
from tests.telemetry.anomalies.scene import Scene


def all_send(scene: Scene, ticks: int, lost_from: str = "", lost_to: str = "", dead: str = "") -> None:
    """Each robot sends to two others in every tick, and all arrives but what one sends, or what is sent to it."""
    robots = scene.robots
    for _ in range(ticks):
        for place, sender in enumerate(robots):
            if sender == dead:
                continue
            for receiver in (robots[(place + 1) % len(robots)], robots[(place + 2) % len(robots)]):
                scene.send(sender, receiver)
                scene.decide()
                if sender != lost_from and receiver != lost_to:
                    scene.receive(receiver, sender)
        scene.wait(1)


def test_a_robot_of_which_thirty_envelopes_in_a_row_do_not_arrive_is_unheard() -> None:
    # Given a robot whose two envelopes a tick are all lost
    scene = Scene()
    all_send(scene, 10)
    all_send(scene, 25, lost_from="r01")
    # Then it is unheard once thirty are five ticks old
    [(began, about)] = scene.begun(UNHEARD_ROBOT)
    assert (about, 29 <= began <= 31) == ("r01", True)
    assert scene.begun(DEAF_ROBOT) == []
    # and with the next one that arrives it is over
    all_send(scene, 1)
    assert [about for _, about in scene.ended(UNHEARD_ROBOT)] == ["r01"]


def test_a_robot_that_is_sent_thirty_envelopes_in_a_row_in_vain_is_deaf() -> None:
    scene = Scene()
    all_send(scene, 25, lost_to="r01")
    all_send(scene, 1)

    assert [about for _, about in scene.begun(DEAF_ROBOT)] == ["r01"]
    assert [about for _, about in scene.ended(DEAF_ROBOT)] == ["r01"]
    assert scene.begun(UNHEARD_ROBOT) == []


def test_twenty_nine_in_a_row_are_not_enough() -> None:
    scene = Scene(["r00", "r01"])
    for number in range(90):
        scene.send("r00", "r01")
        if number % 30 == 29:
            scene.receive("r01", "r00")
        scene.send("r01", "r00")
        scene.receive("r00", "r01")
        scene.wait(1)

    assert scene.begun(UNHEARD_ROBOT) == []


def test_a_passive_robot_is_unheard_after_twelve_envelopes_and_a_hundred_ticks() -> None:
    # Given a passive robot, whose one summary in ten ticks is lost
    scene = Scene(["r00", "r01"])
    for _ in range(11):
        scene.send("r00", "r01")
        scene.wait(10)
        assert scene.begun(UNHEARD_ROBOT) == []
    # Then it is unheard when the twelfth is old enough
    scene.send("r00", "r01")
    scene.wait(4)
    assert scene.begun(UNHEARD_ROBOT) == []
    scene.wait(2)
    assert [about for _, about in scene.begun(UNHEARD_ROBOT)] == ["r00"]


def test_what_is_still_on_its_way_does_not_count() -> None:
    scene = Scene(["r00", "r01"])
    for _ in range(60):
        scene.send("r00", "r01")
    scene.wait(4)
    scene.receive("r01", "r00")
    scene.wait(10)

    assert scene.begun(UNHEARD_ROBOT) == []
    assert scene.begun(DEAF_ROBOT) == []


def test_a_robot_that_is_dead_is_not_deaf_and_its_next_life_begins_anew() -> None:
    # Given a robot that died, to which the others still send
    scene = Scene()
    scene.emit("lab", ProcessDied("r01", 0, -9))
    all_send(scene, 30, lost_to="r01", dead="r01")
    assert scene.begun(DEAF_ROBOT) == []
    # When it is born again
    scene.emit("r01", RobotBorn(2, 2), incarnation=2)
    scene.emit("r01", TicksExecuted(1), incarnation=2)
    scene.wait(3)
    # Then what was sent before does not count
    assert scene.begun(DEAF_ROBOT) == []


def test_the_last_living_robot_is_not_unheard() -> None:
    scene = Scene(["r00", "r01"])
    scene.emit("lab", ProcessDied("r01", 0, -9))
    for _ in range(40):
        scene.send("r00", "r01")
        scene.wait(1)

    assert scene.begun(UNHEARD_ROBOT) == []
