"""What is printed for a person: one line, for any text from outside."""

from __future__ import annotations

import pytest

from broker.envelope import NO_LIFE
from telemetry.console import printable
from telemetry.events import AnyEvent, InvariantViolated, MessageRefused, Stamped, WorkerCrashed
from telemetry.stories.sentences import sentence_of


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("set loss 0.5 r03>r05 «é»", "set loss 0.5 r03>r05 «é»"),
        ("\x1b[2J\x9b\x7f", r"\x1b[2J\x9b\x7f"),
        ("one\ntwo\rthree\u2028", r"one\ntwo\rthree\u2028"),
        ("\u202etxet\ud800", r"\u202etxet\ud800"),
        ("x" * 240, "x" * 240),
        ("x" * 241, "x" * 240 + "…"),
    ],
)
def test_text_from_outside_is_shown_on_one_line_and_does_nothing(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(text).isprintable()


def text_of(event: AnyEvent) -> str:
    return sentence_of(Stamped("f00000", "r03", 1, 7, 0, 0, event))


def test_a_violated_invariant_names_the_life_of_the_sender() -> None:
    assert text_of(InvariantViolated("unique", "came with another word", 4, "r04", 2, 1, 0)) == (
        "r03 refused part 4 of r04/2, which breaks `unique`: came with another word"
    )


def test_an_injected_contradiction_is_called_one_and_shows_no_reserved_number() -> None:
    assert text_of(InvariantViolated("unique", "came with another word", 4, "r04", NO_LIFE, 1, 0)) == (
        "r03 refused part 4 of r04 (an injected contradiction), which breaks `unique`: came with another word"
    )


def test_a_text_that_is_cut_shows_that_and_never_a_part_of_a_number() -> None:
    start, room = "r03's inbox_reader crashed (", 120

    assert text_of(WorkerCrashed("inbox_reader", "x" * 200)) == f"{start}{'x' * room}…)"
    assert text_of(WorkerCrashed("inbox_reader", "x" * (room - 3) + "1234567")) == f"{start}{'x' * (room - 3)}…)"
    assert text_of(WorkerCrashed("inbox_reader", "x" * (room - 3) + "123")) == f"{start}{'x' * (room - 3)}123)"


def test_the_fields_of_an_event_without_a_sentence_are_cut_alike() -> None:
    start = "r03 message.refused entry 1-1 reason "
    room = 120 - len("entry 1-1 reason ")

    assert text_of(MessageRefused("1-1", "x" * (room - 3) + "1234567")) == f"{start}{'x' * (room - 3)}…"
