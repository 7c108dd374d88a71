"""The list of exchanges: what a row says, and which rows are wanted."""

from __future__ import annotations

import msgspec
import pytest

from telemetry.tracing.attributes import in_ranges
from telemetry.tracing.exchanges import traces_of
from telemetry.tracing.listing import ExchangeRow, Wanted, rows_of, slowest
from telemetry.tracing.spans import Trace
from tests.telemetry.tracing import stories


def row_of(story: str) -> ExchangeRow:
    [row] = rows_of(traces_of(getattr(stories, story)().history()))
    return row


def test_a_row_shows_who_how_long_how_it_ended_and_what_acted() -> None:
    row = row_of("answer_lost")

    assert (row.initiator, row.peer, row.outcome, row.is_failed) == ("r03", "r04", "timeout", True)
    assert (row.took_us, row.attempts) == (199_800, 3)
    assert row.fates == ("lost", "corrupt", "delivered")
    assert row.faults == ("loss 0.2", "duplicate 0.3", "delay 5ms..20ms", "corrupt 0.1")
    assert row_of("clean").merged == {"r04": "0..132", "r02": "133..275"}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(), ["clean", "summary_lost", "answer_lost", "delayed"]),
        (Wanted(failed=True), ["answer_lost"]),
        (Wanted(robot="r04"), ["clean", "summary_lost", "answer_lost"]),
        (Wanted(robot="r05"), ["delayed"]),
        (Wanted(fault="loss"), ["summary_lost", "answer_lost"]),
        (Wanted(fault="delay 50ms"), ["delayed"]),
        (Wanted(part=18), ["clean", "summary_lost"]),
        (Wanted(part=200), ["clean"]),
        (Wanted(part=18, robot="r00"), []),
        (Wanted(part=200, robot="r02"), ["clean"]),
        (Wanted(part=276), []),
    ],
)
def test_the_wanted_exchanges_are_those_that_are_asked_for(wanted: Wanted, expected: list[str]) -> None:
    names = ["clean", "summary_lost", "answer_lost", "delayed"]

    assert [name for name in names if wanted.is_wanted(row_of(name))] == expected


def test_the_slowest_come_first() -> None:
    rows = [row_of(name) for name in ("clean", "answer_lost", "delayed")]

    assert [row.outcome for row in slowest(rows, 2)] == ["timeout", "answered"]


def test_an_exchange_whose_messages_came_after_its_end_is_as_long_as_they_took() -> None:
    # Given an exchange that ended soon, and of which a held message came three seconds later
    quick, slow = row_of("clean"), row_of("answer_lost")
    held = msgspec.structs.replace(quick, whole_us=3_000_000)

    assert slowest([slow, held], 1) == [held]
    assert slow.whole_us >= slow.took_us


def test_what_came_late_is_no_row() -> None:
    [trace] = traces_of(stories.clean().history())

    assert rows_of([Trace(trace.spans[3:])]) == []


@pytest.mark.parametrize(
    ("indices", "text"), [((), ""), ((4,), "4"), ((4, 5, 6, 7), "4..7"), ((9, 0, 4, 5, 0), "0, 4..5, 9")]
)
def test_indices_are_a_short_text(indices: tuple[int, ...], text: str) -> None:
    assert in_ranges(indices) == text
