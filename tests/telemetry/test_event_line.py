"""A line of the event log: its time, its source, its name, its fields, and nothing that would change a terminal."""

from __future__ import annotations

from telemetry.events import ExchangeEnded, PartsMerged, RobotStarted, RunStarted, Stamped, WorkerCrashed
from telemetry.tail.line import tail_line

GO_US = 1_800_000_000_000_000


def test_a_line_has_the_time_after_go_and_the_fields_as_a_filter_has_them() -> None:
    stamped = Stamped("7b08e1", "r03", 2, 8, GO_US + 1_250_300, 0, PartsMerged("r05", 1, 9, 0, (4, 17), 6))

    assert tail_line(stamped, GO_US) == (
        "    1.250300  r03/2     parts.merged        sender=r05  sender_incarnation=1  sequence=9  copy=0"
        "  indices=4,17  held=6"
    )


def test_what_was_before_go_has_a_negative_time_and_a_first_life_no_number() -> None:
    line = tail_line(Stamped("7b08e1", "r03", 1, 2, GO_US - 20_000, 0, RobotStarted()), GO_US)

    assert line == "   -0.020000  r03       robot.started"


def test_the_time_of_day_is_shown_while_go_was_not_given() -> None:
    line = tail_line(Stamped("7b08e1", "lab", 0, 2, GO_US + 7_000, 0, RunStarted(6)), None)

    assert line == "08:00:00.007  lab       run.started         born=6"


def test_empty_fields_are_left_out_and_texts_with_spaces_stand_in_quotes() -> None:
    crash = Stamped("7b08e1", "r03", 1, 2, GO_US, 0, WorkerCrashed("", "KeyError: 'x'\n\x1b[2Jgone"))

    assert tail_line(crash, GO_US).endswith(r"""worker.crashed      error="KeyError: 'x'\n\x1b[2Jgone" """.strip())


def test_nothing_from_outside_reaches_the_terminal_unescaped() -> None:
    ended = Stamped("7b08e1", "r\x1b[31m", 1, 2, GO_US, 0, ExchangeEnded("\x9b\u202e", "a\nb", "equal", 1, 2))

    assert tail_line(ended, GO_US).isprintable()
