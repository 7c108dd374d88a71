"""What is printed of a run while it goes on, and when: in order of time, and nothing twice."""

from __future__ import annotations

from telemetry.diagnosis.causes import Diagnosis
from telemetry.diagnosis.stalls import StallWatch
from telemetry.events import (
    AnyEvent,
    FatesDecided,
    FaultInjected,
    PartsMerged,
    RobotBorn,
    RobotComplete,
    RobotJoined,
    RobotRecovered,
    RunDealt,
    RunStarted,
    RunStopped,
    SecretWritten,
    WorkerCrashed,
)
from telemetry.plain.progress import Progress
from telemetry.view import View, fold
from tests.telemetry.stories.reported import GO_US, stamped


class Printed:
    """Times are seconds after `go`."""

    def __init__(self, stalls: StallWatch | None = None) -> None:
        self.lines: list[str] = []
        self.view = View()
        self.progress = Progress(self.lines.append, stalls)

    def event(self, at_s: float, event: AnyEvent, source: str = "lab", life: int = 1) -> None:
        of_now = stamped(at_s, event, source, life)
        self.view = fold(self.view, of_now)
        self.progress.handle(of_now, lambda _stamped: None)

    def observe(self, at_s: float, away_s: float = 0.0) -> None:
        self.progress.observe(self.view, GO_US + round(at_s * 1e6), away_s)

    def begin(self, robots: int = 2) -> None:
        self.event(-1, RunDealt(robots, 4))
        for number in range(robots):
            self.event(-0.5, RobotBorn(2, 3), f"r0{number}")
        self.event(0, RunStarted(robots))
        self.observe(0.5)
        self.lines.clear()


def test_the_times_are_those_of_the_events_after_go_however_late_they_are_read() -> None:
    printed = Printed()
    printed.event(-2, RunDealt(6, 11))
    printed.observe(-1)
    printed.event(0, RunStarted(6))
    printed.event(1.0364, SecretWritten(72, "aof"), "r04", 2)
    printed.observe(50)
    assert printed.lines == [
        "before go  11 parts of a secret dealt to 6 robots",
        "   0.000s  go: 6 robots begin to gossip",
        "   1.036s  r04/2 wrote the secret: 72 bytes, safe on the server's disk",
    ]


def test_lines_come_in_order_of_time_though_events_do_not() -> None:
    # Given events of several sources, of which an earlier one is read later
    printed = Printed()
    printed.begin()
    printed.event(1.0, RobotJoined("r03"))
    printed.observe(1.05)
    printed.event(0.95, RobotJoined("r02"))
    # When a moment has passed
    printed.observe(1.1)
    assert printed.lines == []
    printed.observe(1.35)
    # Then the earlier one comes first
    assert printed.lines == ["   0.950s  r02 joins, without any part", "   1.000s  r03 joins, without any part"]


def test_a_report_that_comes_much_later_is_printed_and_is_marked() -> None:
    printed = Printed()
    printed.begin()
    printed.event(1.0, RobotJoined("r03"))
    printed.observe(2)
    printed.event(0.5, RobotJoined("r02"))
    printed.observe(3)
    assert printed.lines[-1] == "   0.500s  r02 joins, without any part  (reported late)"


def test_what_comes_after_a_death_waits_for_its_recovery_and_for_no_longer_than_two_seconds() -> None:
    # Given a death, and something after it
    printed = Printed()
    printed.begin()
    printed.event(1.0, FaultInjected("kill", "r01", "r01"))
    printed.event(1.1, SecretWritten(72, "memory"), "r00")
    printed.observe(2.9)
    assert printed.lines == []
    # When the robot is not back for long
    printed.observe(3.4)
    # Then both are printed, and its end when it comes
    assert printed.lines == [
        "   1.000s  r01 killed (injected); not back after 2 s",
        "   1.100s  r00 wrote the secret: 72 bytes, in the server's memory",
    ]
    printed.event(6, RobotRecovered(5_000_000), "r01", 2)
    printed.event(6, RobotBorn(2, 3), "r01", 2)
    printed.observe(7)
    assert "   6.000s  r01 is back: life 2 after 5.00 s, replayed 3 entries" in printed.lines
    assert sum("killed" in line for line in printed.lines) == 1


def test_how_far_the_robots_are_is_printed_when_it_has_changed_and_at_most_once_a_second() -> None:
    # Given a run in which robots learn for a while
    printed = Printed()
    printed.begin()
    for tenth in range(6, 50):
        printed.event(tenth / 10, FatesDecided(0, 2, 1, 0, 0, 0, 0, 0, 1, 0, 0, 5))
        if tenth == 12:
            printed.event(1.2, PartsMerged("r00", 1, 1, 0, (2,), 3), "r01")
        printed.observe(tenth / 10)
    # Then nothing is printed of what only grows by itself
    states = [line[11:] for line in printed.lines]
    assert states == [
        "robots hold 62% of all parts, none of 2 is complete; 20 envelopes, 50% of them lost",
    ]


def test_a_robot_that_was_killed_counts_with_what_it_holds() -> None:
    # Given a robot that is complete, and is killed
    printed = Printed()
    printed.begin()
    printed.event(1, PartsMerged("r00", 1, 1, 0, (2, 3), 4), "r01")
    printed.event(1, RobotComplete(4), "r01")
    printed.observe(1.6)
    printed.event(2, FaultInjected("kill", "r01", "r01"))
    # When it lives again, and the other learns
    printed.event(2.1, RobotBorn(4, 6), "r01", 2)
    printed.event(2.2, PartsMerged("r01", 2, 1, 0, (0,), 3), "r00")
    printed.observe(2.7)
    printed.progress.close()
    # Then both times it is counted
    states = [line[11:].split(";")[0] for line in printed.lines if "robots hold" in line]
    assert states == [
        "robots hold 75% of all parts, 1 of 2 is complete",
        "robots hold 88% of all parts, 1 of 2 is complete",
    ]


def test_a_server_that_does_not_answer_is_reported_once_and_so_is_its_return() -> None:
    # Given a server that is away from second 1.5 on
    printed = Printed()
    printed.begin()
    printed.event(1.4, SecretWritten(72, "memory"), "r00")
    for tenth in range(15, 46):
        printed.observe(tenth / 10, tenth / 10 - 1.5)
    assert printed.lines == [
        "   1.400s  r00 wrote the secret: 72 bytes, in the server's memory",
        "   1.500s  the server does not answer any more",
    ]
    # When it answers again, with what happened meanwhile
    printed.event(2.0, WorkerCrashed("inbox_reader", "ValueError: no"), "r01")
    printed.observe(4.6)
    printed.observe(7)
    # Then all is in order
    assert printed.lines[2:] == [
        "   2.000s  r01's inbox_reader crashed (ValueError: no); not running again after 2 s",
        "   4.600s  the server answers again, after 3.10 s",
    ]


def test_why_there_is_no_progress_is_printed_in_the_same_clock() -> None:
    stalls = StallWatch(lambda _view: [Diagnosis("gone", "no living robot holds part 3")], 100_000)
    printed = Printed(stalls)
    printed.begin()
    for second in range(1, 6):
        printed.observe(second)
    assert printed.lines == ["   3.000s  no progress for 2.50 s: no living robot holds part 3"]


def test_what_is_held_back_is_printed_at_the_end() -> None:
    printed = Printed()
    printed.begin()
    printed.event(1.0, FaultInjected("kill", "r01", "r01"))
    printed.event(1.1, RunStopped("interrupted"))
    printed.progress.close()
    assert printed.lines == [
        "   1.000s  r01 killed (injected); not back when the run ended",
        "   1.100s  stop: the run is interrupted",
    ]


def test_a_text_from_outside_does_nothing_to_a_terminal() -> None:
    printed = Printed()
    printed.begin()
    printed.event(1, WorkerCrashed("\x1b]0;x\x07", "\n\x9b2J"), "r01\x1b[2J")
    printed.progress.close()
    assert [line.isprintable() for line in printed.lines] == [True]
