"""When a run is done: what events must have come, and what no process is left to report."""

from __future__ import annotations

from functools import reduce

import pytest

from robots.run.stop_rule import REASONS, Bounds, reason_in, stop_reason
from telemetry.events import (
    AnyEvent,
    EvidenceLost,
    RobotBorn,
    RobotComplete,
    RunDealt,
    SecretRefused,
    SecretWritten,
    Stamped,
)
from telemetry.view import View, fold

BOUNDS = Bounds(for_us=1_000_000, limit_us=9_000_000)
DEALT = [("lab", RunDealt(2, 3)), *((robot, RobotBorn(1, 1)) for robot in ("r00", "r01"))]
COMPLETE = [*DEALT, *((robot, RobotComplete(3)) for robot in ("r00", "r01"))]
REBORN = ("r00", RobotBorn(3, 9))

Events = list[tuple[str, AnyEvent]]


def view_of(events: Events) -> View:
    return reduce(fold, (Stamped("run", source, 1, 0, 0, 0, event) for source, event in events), View())


@pytest.mark.parametrize(
    "events",
    [
        [*COMPLETE, ("r00", SecretWritten(9, "aof"))],
        [*DEALT, ("r01", RobotComplete(3)), ("r01", SecretWritten(9, "aof")), REBORN],
        [*COMPLETE, ("r01", SecretRefused()), REBORN, ("r00", SecretRefused())],
        [*COMPLETE, ("r00", SecretRefused()), REBORN, ("r01", SecretRefused())],
        [*COMPLETE, ("r01", SecretRefused()), ("r00", EvidenceLost("journal"))],
    ],
    ids=[
        "written",
        "completed by its next life",
        "the writer lives again",
        "refused before its death",
        "dead for good",
    ],
)
def test_a_run_is_complete_when_the_secret_is_written_and_all_who_can_be_reached_miss_nothing(events: Events) -> None:
    view = view_of(events)

    assert stop_reason(view, 1_000_000, BOUNDS, is_settled=True) == "complete"
    assert stop_reason(view, 999_999, BOUNDS, is_settled=True) is None
    assert stop_reason(view, 1_000_000, BOUNDS, is_settled=False) is None


@pytest.mark.parametrize(
    "events",
    [
        [],
        COMPLETE,
        [*DEALT, ("r00", RobotComplete(3)), ("r00", SecretWritten(9, "aof"))],
        [*COMPLETE, ("r00", SecretRefused())],
    ],
    ids=["nothing", "not written", "one is not complete", "the writer has not reported yet"],
)
def test_until_then_it_goes_on_to_its_limit(events: Events) -> None:
    view = view_of(events)

    assert stop_reason(view, 8_999_999, BOUNDS, is_settled=True) is None
    assert stop_reason(view, 9_000_000, BOUNDS, is_settled=True) == "limit"


@pytest.mark.parametrize("content", [b"", b"because", b"complete\xff", b"\xff", b"COMPLETE", b"complete "])
def test_an_order_to_stop_that_gives_no_reason_of_ours_is_a_persons(content: bytes) -> None:
    assert reason_in(content) == "stopped"


def test_the_reasons_that_we_give_are_read_as_they_were_given() -> None:
    assert [reason_in(reason.encode()) for reason in REASONS] == list(REASONS)
