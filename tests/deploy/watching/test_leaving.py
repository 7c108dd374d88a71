"""What a person is told when they have left the screens."""

from __future__ import annotations

import pytest

from deploy.watching.leaving import Left, words_of


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (Left(), "run 7f3a goes on; attach again: robots watch 7f3a"),
        (Left(is_opened=True), "run 7f3a goes on; attach again: robots watch 7f3a"),
        (Left(verdict="HELD"), "run 7f3a is over: HELD; see it again: robots replay 7f3a"),
        (Left(verdict=""), "run 7f3a is over; judge it with: robots verify --wait 7f3a"),
        (Left(verdict="HELD", is_opened=True), ""),
        (Left(is_opened=True, by_signal=True), ""),
        (Left(is_opened=True, has_crashed=True), ""),
        (Left(by_signal=True), "run 7f3a goes on; attach again: robots watch 7f3a"),
        (
            Left(is_opened=True, is_orphan=True),
            "run 7f3a was killed: its process is gone; judge what is there: robots verify 7f3a",
        ),
    ],
)
def test_a_person_reads_what_became_of_the_run(left: Left, words: str) -> None:
    assert words_of(left, "7f3a") == words
