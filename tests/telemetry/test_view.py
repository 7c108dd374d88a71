"""A run at one moment: the state of a robot in the view, by its own events."""

import pytest

from deploy.config.experiment import prepare
from robots.simulation.simulate import simulate
from telemetry.events import (
    AnyEvent,
    PartsMerged,
    RobotBorn,
    RobotComplete,
    RobotFenced,
    RobotLeft,
    RunDealt,
    SecretWritten,
    ServerForgot,
    Stamped,
)
from telemetry.view import OF_LIVES, View, fold


def seen(*events: tuple[str, AnyEvent]) -> View:
    """The view after these events, each with its source."""
    view = View()
    for number, (source, event) in enumerate(events, start=1):
        view = fold(view, Stamped("abc123", source, 1, number, number, number, event))
    return view


@pytest.mark.parametrize(("reason", "state"), [("complete", "left"), ("limit", "left"), ("recalled", "away")])
def test_a_robot_that_was_recalled_waits_for_its_next_life(reason: str, state: str) -> None:
    view = seen(("r00", RobotBorn(1, 0)), ("r00", RobotLeft(reason)))

    assert view.robots["r00"].state == state
    assert view.living == 0
    # and is alive again when it is born
    assert fold(view, Stamped("abc123", "r00", 2, 1, 9, 9, RobotBorn(1, 0))).living == 1


def test_a_run_is_not_done_while_a_robot_that_was_recalled_is_not_complete() -> None:
    events = [("lab", RunDealt(2, 3)), ("r00", RobotBorn(1, 0)), ("r01", RobotBorn(1, 0)), ("r00", RobotComplete(3))]
    events += [("r00", SecretWritten(9, "memory")), ("r01", RobotLeft("recalled"))]

    assert not seen(*events).is_done
    assert seen(*events, ("r01", RobotBorn(2, 0)), ("r01", RobotComplete(3))).is_done


def test_what_an_older_life_reports_does_not_change_how_its_robot_is() -> None:
    # Given a robot in its second life, whose first one was paused and goes on
    view = seen(("lab", RunDealt(1, 3)), ("r00", RobotBorn(2, 0)))
    view = fold(view, Stamped("abc123", "r00", 2, 1, 9, 9, RobotBorn(2, 0)))
    # When that one learns a part, and finds that it was fenced
    for number, event in enumerate((PartsMerged("r01", 1, 1, 1, (2,), 3), RobotFenced("journal")), start=9):
        view = fold(view, Stamped("abc123", "r00", 1, number, number, number, event))
    # Then the robot lives, holds what its second life holds, and what was merged is known
    robot = view.robots["r00"]
    assert (robot.state, robot.incarnation, robot.held, robot.learnt) == ("alive", 2, 2, 0b100)
    # And it is dead once that life is fenced, too
    view = fold(view, Stamped("abc123", "r00", 2, 2, 20, 20, RobotFenced("journal")))
    assert (view.robots["r00"].state, view.robots["r00"].ended) == ("dead", "fenced")


@pytest.mark.parametrize("source", ["lab", "r00"])
def test_one_report_that_the_server_forgot_something_is_enough(source: str) -> None:
    begun = seen(("r00", RobotBorn(1, 0)))

    assert not begun.has_server_forgotten
    assert seen(("r00", RobotBorn(1, 0)), (source, ServerForgot("events"))).has_server_forgotten


def test_the_events_of_lives_alone_show_how_many_robots_live() -> None:
    # Given a run with deaths
    experiment = prepare({"robots": 5, "seed": 7, "for_": "6s", "chaos": "kill robot every 700ms"})
    events = simulate("run", experiment.deal, experiment.terms, experiment.plan, experiment.bounds).events
    # When its events of lives are folded, and all of them
    whole, lives, living = View(), View(), []
    for stamped in events:
        whole = fold(whole, stamped)
        if type(stamped.event) in OF_LIVES:
            lives = fold(lives, stamped)
        # Then both know at each moment how many live
        assert whole.living == lives.living
        living.append(whole.living)
    assert {0, 4, 5} <= set(living)
