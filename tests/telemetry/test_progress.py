"""What is printed, and when: events with their own time, and the view at most once a second."""

from telemetry.events import AnyEvent, RelayMissing, RobotWaiting, RunDealt, RunStarted, Stamped, SupervisorBegan
from telemetry.handlers.progress import Progress
from telemetry.view import View, fold

DEALT_US = 1_000_000_000_000_000


class Printed:
    def __init__(self, zero_us: int | None = None) -> None:
        self.lines: list[str] = []
        self.view = View()
        self.progress = Progress(self.lines.append, zero_us)

    def event(self, event: AnyEvent, after_s: float, source: str = "lab") -> None:
        stamped = Stamped("run", source, 1, 1, DEALT_US + round(after_s * 1e6), 0, event)
        self.view = fold(self.view, stamped)
        self.progress.handle(stamped, lambda _stamped: None)

    def observe(self, after_s: float, away_s: float = 0.0) -> None:
        self.progress.observe(self.view, DEALT_US + round(after_s * 1e6), away_s)


def test_events_bear_the_time_since_the_deal_however_late_they_are_received() -> None:
    printed = Printed()
    printed.observe(50)  # before anything is known
    printed.event(RunDealt(6, 11), 0)
    printed.event(RunStarted(6), 2.5)
    printed.observe(60)

    assert [line.split("s")[0].strip() for line in printed.lines] == ["0.0", "2.5", "60.0"]


def test_events_bear_the_time_since_the_commands_start_where_that_is_given() -> None:
    printed = Printed(DEALT_US - 700_000)
    printed.event(RunDealt(6, 11), 0)
    assert printed.lines == ["   0.7s  lab run.dealt robots 6 parts 11"]


def test_a_server_that_is_away_is_reported_once_a_second_instead_of_a_view_that_may_be_old() -> None:
    printed = Printed()
    printed.event(RunDealt(6, 11), 0)
    for tenth in range(10, 45):
        printed.observe(tenth / 10, max(0.0, tenth / 10 - 1.5))

    assert [("does not answer" in line) for line in printed.lines[1:]] == [False, False, True, True]
    assert printed.lines[-1] == "   4.0s  the server does not answer, for 2 s now"


def test_what_a_person_should_act_on_is_printed_in_words() -> None:
    printed = Printed()
    printed.event(RunDealt(6, 11), 0)
    printed.event(RelayMissing(1), 1)
    printed.event(RobotWaiting("r02", (1, 3)), 2)
    printed.event(RobotWaiting("r02", (1, 3), 6), 8)  # printed before
    printed.event(SupervisorBegan(is_successor=False), 9, "supervisor:ab")
    printed.event(SupervisorBegan(is_successor=True), 9, "supervisor:cd")

    assert printed.lines[1:] == [
        "   1.0s  shard 1 has no relay: what is sent there waits (robots relay)",
        "   2.0s  r02 waits: no RQ worker is free; no living robot holds parts 1, 3",
        "   9.0s  supervisor:cd supervises the run from here on",
    ]
