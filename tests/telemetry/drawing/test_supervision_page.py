"""The tree of supervision and its timeline: what is folded, what never is, and which letter stands for what."""

from __future__ import annotations

import pytest

from telemetry.drawing.line import text_of
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Chosen, Moment, Status
from telemetry.drawing.supervision.page import rows
from telemetry.drawing.supervision.timeline import TimeRange, span_of, timeline
from telemetry.drawing.supervision.tree import FOLDED
from telemetry.events import (
    AnomalyBegan,
    AnomalyEnded,
    FaultInjected,
    ProcessDied,
    RobotBorn,
    RobotRecovered,
    SupervisorBegan,
    TicksExecuted,
    WorkerCrashed,
    WorkerRestarted,
    WorkerStarted,
)
from telemetry.scene.processes.lifelines import Remark
from telemetry.scene.processes.stretches import Stretch
from tests.telemetry.drawing.simulated import page_text
from tests.telemetry.scene.script import Script


def tree(run: Script, **chosen: object) -> list[str]:
    return list(rows(Moment(run.scene, Status(), Chosen(page="supervision", **chosen))))  # type: ignore[arg-type]


def page(run: Script, size: str = "120x40", **chosen: object) -> str:
    return page_text(run.scene, size, page="supervision", **chosen)


# What is folded
def test_robots_without_trouble_are_one_line_and_the_others_are_not() -> None:
    # Given twenty robots, of which the lab killed one
    run = Script(20)
    run.report(500, "lab", FaultInjected("kill", "robot", "r07"))
    # Then
    assert tree(run) == ["run 5c1213", "supervisor", "relay:0", "redis", "r07", FOLDED]
    assert "19 without trouble: r00..r06, r08..r19" in page(run)


def test_a_robot_that_lives_again_stays_in_sight_so_that_its_timeline_shows_when_it_died() -> None:
    # Given a robot that was killed, and lives again
    run = Script(3)
    run.report(500, "lab", FaultInjected("kill", "robot", "r01"))
    run.report(550, "r01", RobotBorn(1, 3), life=2)
    assert "r01" in tree(run)
    assert "killed (injected) 0.1s ago" in page(run)
    # When nothing more happens to it
    run.report(5600, "r01", TicksExecuted(5), life=2)
    # Then its row says no more how long ago that was, and its timeline shows it
    [row] = [each for each in page(run).splitlines() if "r01 life 2" in each]
    assert "ago" not in row
    assert "×" in row
    assert "2 without trouble: r00, r02" in page(run)


def test_an_rq_worker_that_is_paused_stands_below_its_robot() -> None:
    # Given a robot whose RQ worker is paused, while it runs on
    run = Script(3)
    run.report(500, "lab", FaultInjected("pause", "rq:r01", "rq:r01"))
    # Then the row says so, and its workers need none
    assert tree(run) == ["run 5c1213", "supervisor", "relay:0", "redis", "r01", "r01", FOLDED]
    assert "RQ worker paused: paused (injected)" in page(run)


def test_a_robot_that_is_unusual_is_in_sight_with_the_reason() -> None:
    # Given a robot of which nothing was heard for a while
    run = Script(3)
    run.report(500, "lab", AnomalyBegan("late beat", "r01", "no event for 1.6 s"))
    # Then
    assert "r01" in tree(run)
    assert "gossiping; unusual: late beat" in page(run)
    # And when it is heard again, it is one of those without trouble
    run.report(900, "lab", AnomalyEnded("late beat", "r01", 400_000))
    assert "r01" not in tree(run)


def test_a_hold_before_go_takes_a_tenth_of_the_timeline() -> None:
    # Given a run that was held back for a minute, and has gone on for twenty seconds
    run = Script(3)
    run.scene.go_us += 60_000_000
    run.report(80_000, "r01", TicksExecuted(5))
    # Then its timeline begins two seconds before go
    assert run.scene.go_us is not None
    assert run.scene.go_us - span_of(run.scene).from_us == 2_000_000


def test_a_death_that_is_charged_counts_for_the_whole_window() -> None:
    # Given a death that nothing injected
    run = Script(3)
    run.report(500, "r01", RobotRecovered(100_000), life=2)
    run.report(500, "r01", RobotBorn(1, 3), life=2)
    run.report(20_000, "r01", TicksExecuted(5), life=2)
    assert "charged: 1 death, 0 crashes" in page(run)
    assert "1 of 5 deaths" in page(run, cursor=tree(run).index("r01"))
    # When thirty seconds have passed
    run.report(30_500, "r01", TicksExecuted(5), life=2)
    # Then it counts no more
    assert "charged:" not in page(run)


def test_a_robot_with_a_crashed_worker_shows_all_five() -> None:
    # Given a worker that waits for its restart
    run = Script(3)
    run.report(500, "r01", WorkerCrashed("secret_merger", "ValueError: no"))
    run.report(500, "r01", WorkerRestarted("secret_merger", 1, 20_000))
    # Then its line says when it starts again
    assert tree(run).count("r01") == 6
    assert "secret_merger        crashed; starts again in 20 ms  crashed 1x" in page(run, "200x60")
    # When it runs
    run.report(521, "r01", WorkerStarted("secret_merger"))
    # Then only the robot is left in sight, because of what was charged
    assert tree(run).count("r01") == 1


def test_more_is_unfolded_step_by_step() -> None:
    # Given three robots without trouble
    run = Script(3)
    # Then tabs show them, then their workers too, then one line again
    assert len(tree(run)) == 4 + 1
    assert len(tree(run, tab=1)) == 4 + 3
    assert len(tree(run, tab=2)) == 4 + 3 * 6
    assert tree(run, tab=3) == tree(run)


def test_with_only_trouble_the_unfolded_tree_leaves_quiet_robots_out() -> None:
    # Given one robot of three in trouble
    run = Script(3)
    run.report(500, "lab", FaultInjected("pause", "r02", "r02"))
    # Then
    assert tree(run, tab=1, is_only_trouble=True)[4:] == ["r02"]


# What it says of the fleet
def test_processes_of_which_nothing_is_known_are_shown_as_unknown() -> None:
    # Given a run on a server that it did not start
    text = page(Script(3))
    # Then
    assert "supervisor not heard of yet" in text
    assert "server     not started by this run" in text
    assert "supervisor simulated" in page(Script(3, mode="simulated"))


def test_a_successor_of_the_supervisor_is_named() -> None:
    # Given two supervisors, one after the other
    run = Script(3)
    run.report(-80, "supervisor:1", SupervisorBegan(False))
    run.report(900, "supervisor:2", SupervisorBegan(True))
    # Then the second one leads
    assert "supervisor:2 leads" in page(run)


def test_a_dead_server_is_down_in_words() -> None:
    # Given the run's own server, killed by hand
    run = Script(3)
    run.report(500, "lab", ProcessDied("redis", 9, -9))
    # Then
    assert "down: killed by signal 9" in page(run)


# The timeline
def drawn(*stretches: Stretch, notes: tuple[Remark, ...] = (), is_ascii: bool = True) -> str:
    return text_of(timeline(stretches, notes, TimeRange(0, 100), 10, Marks(is_ascii)))


def test_each_condition_has_a_letter_and_what_was_before_is_blank() -> None:
    # Given a robot that was born, completed, was paused, died, and lives
    line = drawn(
        Stretch(10, "up"),
        Stretch(30, "complete"),
        Stretch(50, "paused"),
        Stretch(60, "down"),
        Stretch(80, "complete"),
    )
    # Then
    assert line == ' --=="xx=='


def test_of_what_happens_within_a_cell_the_worst_shows() -> None:
    # Given a death that lasted a tenth of a cell
    assert drawn(Stretch(0, "complete"), Stretch(55, "down"), Stretch(56, "complete")) == "=====x===="
    # and a completion within a cell, where nothing is worse
    assert drawn(Stretch(0, "up"), Stretch(55, "complete")) == "-----====="


def test_a_note_shows_where_its_process_lives_and_hides_no_death() -> None:
    # Given two notes, one while it was down
    notes = (Remark(15, "crash"), Remark(55, "crash"))
    assert drawn(Stretch(0, "complete"), Stretch(50, "down"), Stretch(70, "up"), notes=notes) == "=!===xx---"


def test_a_process_that_left_is_blank_afterwards() -> None:
    assert drawn(Stretch(0, "complete"), Stretch(40, "left"), is_ascii=False) == "━━━━      "


@pytest.mark.parametrize("width", [1, 7, 39, 120])
def test_a_timeline_has_the_width_that_it_is_given(width: int) -> None:
    # Given stretches before, within and after what is shown
    stretches = (Stretch(-50, "up"), Stretch(20, "down"), Stretch(20, "up"), Stretch(90, "complete"))
    # Then
    assert len(text_of(timeline(stretches, (), TimeRange(0, 100), width, Marks()))) == width
