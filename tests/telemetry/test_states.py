"""The one word for how a robot is now."""

from __future__ import annotations

from telemetry.drawing.help import STATES
from telemetry.drawing.marks import TONES, Marks
from telemetry.events import AnyEvent, RobotBorn, RunDealt, RunHeldBack, RunStarted, Stamped
from telemetry.scene.scene import Scene
from telemetry.scene.states import states_of
from tests.support.recorded_settings import settings_of


def scene_after(*events: tuple[str, AnyEvent]) -> Scene:
    scene = Scene(settings_of(robots=3), ())
    for number, (source, event) in enumerate((("lab", RunDealt(3, 3)), *events), start=1):
        scene.handle(Stamped("f00000", source, 1, number, number, number, event))
    return scene


def test_robots_of_a_run_that_is_held_back_are_born_and_gossip_from_go_on() -> None:
    births: list[tuple[str, AnyEvent]] = [("r00", RobotBorn(1, 0)), ("r01", RobotBorn(1, 0))]
    held_back = scene_after(*births, ("lab", RunHeldBack(2)))

    assert states_of(held_back) == {"r00": "born", "r01": "born", "r02": "unborn"}

    begun = scene_after(*births, ("lab", RunHeldBack(2)), ("lab", RunStarted(2)))
    assert states_of(begun) == {"r00": "gossiping", "r01": "gossiping", "r02": "unborn"}


def test_every_state_has_a_mark_a_tone_and_a_meaning() -> None:
    assert STATES.keys() == TONES.keys()
    for is_ascii in (False, True):
        marks = [Marks(is_ascii).states[state] for state in STATES]
        assert len(set(marks)) == len(marks)
