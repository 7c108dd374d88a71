"""The table of robots: which it lists, in what order, which columns fit, and what one robot's tabs say."""

from __future__ import annotations

from telemetry.drawing.moment import Chosen, Moment, Status
from telemetry.drawing.robots.page import TABS, rows
from telemetry.events import (
    EvidenceLost,
    ExchangeEnded,
    FaultInjected,
    MessageReceived,
    MessageSent,
    PartsMerged,
    RobotComplete,
    RobotWaiting,
    WorkerCrashed,
)
from tests.telemetry.drawing.simulated import page_text
from tests.telemetry.scene.script import Script


def listed(run: Script, **chosen: object) -> list[str]:
    return list(rows(Moment(run.scene, Status(), Chosen(page="robots", **chosen))))  # type: ignore[arg-type]


def sick_run() -> Script:
    """r01 was killed and has not come back, r02 waits, r03's worker crashed; r00 is complete."""
    run = Script(5)
    run.report(100, "r00", PartsMerged("r04", 1, 1, 0, (1, 2, 3, 4), 5))
    run.report(101, "r00", RobotComplete(5))
    run.report(500, "r01", EvidenceLost("journal"), life=0)
    run.report(500, "supervisor:1", RobotWaiting("r02", (2,), 0))
    run.report(500, "r03", WorkerCrashed("secret_merger", "ValueError: no"))
    return run


# Which, and in what order
def test_only_robots_in_trouble_are_listed_when_that_is_wanted() -> None:
    # Given a run in which three of five robots are in trouble
    run = sick_run()
    # Then the list has these, and says how many there are in all
    assert listed(run) == ["r00", "r01", "r02", "r03", "r04"]
    assert listed(run, is_only_trouble=True) == ["r01", "r02", "r03"]
    assert page_text(run.scene, "80x24", is_only_trouble=True).startswith("ROBOTS 3 of 5")


def test_a_filter_is_a_part_of_a_name_or_of_a_state_and_after_an_exclamation_mark_its_opposite() -> None:
    # Given the same run
    run = sick_run()
    # Then
    assert listed(run, filter="r03") == ["r03"]
    assert listed(run, filter="r0[12]") == ["r01", "r02"]
    assert listed(run, filter="dead") == ["r01"]
    assert listed(run, filter="gossip !r03") == ["r04"]
    assert listed(run, filter="no such") == []


def test_the_worst_state_comes_first_when_sorted_by_state_and_the_order_can_be_turned() -> None:
    # Given the same run
    run = sick_run()
    # Then
    assert listed(run, sort=1) == ["r01", "r02", "r03", "r04", "r00"]
    assert listed(run, sort=1, is_reversed=True)[0] == "r00"
    assert listed(run, sort=2, is_reversed=True)[0] == "r00"  # it holds most


def test_the_sorted_column_is_marked_and_named_even_if_it_does_not_fit() -> None:
    # Given a column that only a wide page shows
    run = sick_run()
    # Then a narrow one names it in its title
    assert "CRASHES" not in page_text(run.scene, "80x24", sort=11)
    assert "sorted by crashes" in page_text(run.scene, "80x24", sort=11)
    assert "CRASHES▲" in page_text(run.scene, "120x40", sort=11)
    assert "CRASHESv" in page_text(run.scene, "120x40", is_ascii=True, sort=11, is_reversed=True)


def test_an_empty_list_shows_why_it_is_empty() -> None:
    # Given a run in which no robot is in trouble
    run = Script(3)
    # Then
    assert "No robot is in trouble; o shows all." in page_text(run.scene, "80x24", is_only_trouble=True)
    assert "No robot matches the filter" in page_text(run.scene, "80x24", filter="r77")
    assert "No event matches the filter" in page_text(run.scene, "80x24", page="events", filter="r77")


def test_any_number_sorts_by_some_column() -> None:
    # Given a key that was pressed more often than there are columns
    run = sick_run()
    # Then the order begins anew
    assert listed(run, sort=15) == listed(run, sort=0)


def test_a_hundred_robots_scroll_with_the_cursor() -> None:
    # Given more robots than lines
    run = Script(120)
    # When the cursor is far down
    text = page_text(run.scene, "80x24", cursor=100)
    # Then the page shows what is around it, and how much is above and below
    assert "\nr100 " in text
    assert "\nr000 " not in text
    assert "92 above, 11 below" in text
    assert text.startswith("ROBOTS 120 of 120")


def test_a_cursor_beyond_the_list_shows_its_end() -> None:
    # Given a list that became shorter than where the cursor stood
    run = sick_run()
    # Then the page is drawn all the same
    assert "r03" in page_text(run.scene, "80x24", cursor=99, is_only_trouble=True)
    assert "ROBOTS 0 of 5" in page_text(run.scene, "80x24", cursor=99, filter="no such")


def test_what_is_wrong_with_the_robot_under_the_cursor_stands_in_full_below() -> None:
    # Given a narrow page without a column for it
    run = sick_run()
    # Then
    assert "r01: its journal is lost" in page_text(run.scene, "80x24", cursor=1)
    assert "r03: secret_merger crashed" in page_text(run.scene, "80x24", cursor=3)
    assert "WHAT IS WRONG" in page_text(run.scene, "200x60")


def test_a_link_that_delivers_little_shows_in_both_robots() -> None:
    # Given twelve envelopes from r00 to r01, of which three arrive
    run = Script(2)
    for sequence in range(1, 13):
        run.report(10, "r00", MessageSent("r01", sequence, "summary", "e1", 0, 40, 10))
    for sequence in range(1, 4):
        run.report(20, "r01", MessageReceived("r00", 1, sequence, 0, "summary", "e1", 0, "1-1"))
    # Then the sender's OUT and the receiver's IN are 25%
    sender, receiver = page_text(run.scene, "80x24").splitlines()[2:4]
    assert sender.split()[5:8] == ["12", "-", "25%"]
    assert "25%" in receiver


# One robot
def tab(run: Script, robot: str, number: int, size: str = "120x40") -> str:
    return page_text(run.scene, size, robot=robot, tab=number)


def test_the_parts_of_a_robot_show_what_it_lacks_and_that_only_a_dead_one_holds_it() -> None:
    # Given a robot that lacks four parts, of which one was dealt to a robot that is dead now
    run = sick_run()
    # Then
    text = tab(run, "r04", 0)
    assert "lacks part 1: held by r00" in text
    run = Script(3)
    run.report(500, "r01", EvidenceLost("journal"), life=0)
    assert "lacks part 1: no living robot holds it, only r01" in tab(run, "r02", 0)


def test_the_parts_of_a_robot_show_who_taught_it_which_and_when() -> None:
    # Given a robot that learnt all from one other
    text = tab(sick_run(), "r00", 0)
    # Then
    assert "It lacks nothing." in text
    assert "TEACHERS r04 4   the first: r04, 0.100s after go" in text
    assert "part 3    by r04        0.100s" in text


def test_the_traffic_of_a_robot_has_a_row_for_each_other_one() -> None:
    # Given exchanges with one of two others
    run = Script(3)
    run.report(10, "r00", MessageSent("r01", 1, "summary", "e1", 0, 40, 10))
    run.report(30, "r00", ExchangeEnded("r01", "e1", "answered", 1, 20_000))
    run.report(30, "r00", ExchangeEnded("r01", "e2", "timeout", 3, 900_000))
    # Then it has its row, with the outcome and the duration of what was answered
    text = tab(run, "r00", 1)
    assert "WITH WHOM IT TALKS 1 of 2" in text
    assert text.splitlines()[4].split() == ["r01", "1", "0%", "0", "-", "0", "0", "1", "1", "20ms", "20ms"]


def test_the_log_of_a_robot_has_its_events_and_those_of_others_that_name_it() -> None:
    # Given an injection into it, and one into another robot
    run = Script(3)
    run.report(500, "lab", FaultInjected("kill", "robot", "r01"))
    run.report(600, "lab", FaultInjected("kill", "robot", "r02"))
    # Then only its own is in its log
    text = tab(run, "r01", 2)
    assert "kill r01 (the plan: kill robot)" in text
    assert "r02" not in text.split("ITS EVENTS")[1]
    assert "ITS EVENTS 3 of 3" in text


def test_the_lives_of_a_robot_show_how_each_ended_and_how_its_workers_are() -> None:
    # Given a robot with a crashed worker
    text = tab(sick_run(), "r03", 3)
    # Then
    assert "LIVES 1 of 1" in text
    assert "secret_merger        crashed  crashed 1x, the last 0.0s ago: ValueError: no" in text
    assert "1 of 5 worker crashes" in text


def test_a_robot_that_does_not_exist_is_named_so() -> None:
    # Given a name from outside
    assert "r99: this run has no such robot" in tab(sick_run(), "r99", 0)


def test_each_tab_has_rows_for_its_cursor() -> None:
    # Given a robot with lessons, peers, events and a life
    run = sick_run()
    run.report(600, "r00", MessageSent("r01", 1, "summary", "e1", 0, 40, 10))
    # Then each tab lists what it shows
    shown = [listed(run, robot="r00", tab=number) for number in range(len(TABS))]
    assert shown[0] == ["1", "2", "3", "4"]
    assert shown[1] == ["r01", "r04"]
    assert shown[2][0] == "r00/1/5"
    assert shown[3] == ["1"]
