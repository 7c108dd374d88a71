"""What a person who waits is told, and when: events with their own time, and the view at most once a second."""

from telemetry.events import AnyEvent, RelayMissing, RobotWaiting, RunDealt, RunStarted, Stamped, SupervisorBegan
from telemetry.handlers.progress import Progress
from telemetry.view import View, fold

DEALT_US = 1_000_000_000_000_000


class Told:
    def __init__(self, zero_us: int | None = None) -> None:
        self.lines: list[str] = []
        self.view = View()
        self.progress = Progress(self.lines.append, zero_us)

    def event(self, event: AnyEvent, after_s: float, source: str = "lab") -> None:
        stamped = Stamped("run", source, 1, 1, DEALT_US + round(after_s * 1e6), 0, event)
        self.view = fold(self.view, stamped)
        self.progress.handle(stamped, lambda _stamped: None)

    def look(self, after_s: float, away_s: float = 0.0) -> None:
        self.progress.look(self.view, DEALT_US + round(after_s * 1e6), away_s)


def test_events_bear_the_time_since_the_deal_however_late_they_are_heard() -> None:
    told = Told()
    told.look(50)  # before anything is known
    told.event(RunDealt(6, 11), 0)
    told.event(RunStarted(6), 2.5)
    told.look(60)

    assert [line.split("s")[0].strip() for line in told.lines] == ["0.0", "2.5", "60.0"]


def test_events_bear_the_time_since_the_commands_start_where_that_is_given() -> None:
    told = Told(DEALT_US - 700_000)
    told.event(RunDealt(6, 11), 0)
    assert told.lines == ["   0.7s  lab run.dealt robots 6 parts 11"]


def test_a_server_that_is_away_is_told_once_a_second_instead_of_a_view_that_may_be_old() -> None:
    told = Told()
    told.event(RunDealt(6, 11), 0)
    for tenth in range(10, 45):
        told.look(tenth / 10, max(0.0, tenth / 10 - 1.5))

    assert [("does not answer" in line) for line in told.lines[1:]] == [False, False, True, True]
    assert told.lines[-1] == "   4.0s  the server does not answer, for 2 s now"


def test_what_a_person_should_do_something_about_is_said_in_words() -> None:
    told = Told()
    told.event(RunDealt(6, 11), 0)
    told.event(RelayMissing(1), 1)
    told.event(RobotWaiting("r02", (1, 3)), 2)
    told.event(RobotWaiting("r02", (1, 3), 6), 8)  # said before
    told.event(SupervisorBegan(is_successor=False), 9, "supervisor:ab")
    told.event(SupervisorBegan(is_successor=True), 9, "supervisor:cd")

    assert told.lines[1:] == [
        "   1.0s  nobody relays shard 1: what is sent there waits (robots relay)",
        "   2.0s  r02 waits: no RQ worker is free; no living robot holds parts 1, 3",
        "   9.0s  supervisor:cd supervises the run from here on",
    ]
