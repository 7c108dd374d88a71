"""The filter of the event log: what each kind of word matches, and what is no filter."""

from __future__ import annotations

import pytest

from telemetry.events import (
    AnyEvent,
    ExchangeEnded,
    MessageDropped,
    PartsMerged,
    RunStarted,
    Stamped,
    SupervisorBegan,
    WorkerCrashed,
)
from telemetry.tail.filter import FilterSyntaxError, filter_of


def stamped(source: str, event: AnyEvent, incarnation: int = 1) -> Stamped:
    return Stamped("7b08e1", source, incarnation, 1, 0, 0, event)


LOG = {
    "go": stamped("lab", RunStarted(6), 0),
    "merged": stamped("r03", PartsMerged("r05", 1, 9, 0, (4, 17), 6)),
    "merged later": stamped("r03", PartsMerged("r01", 1, 9, 0, (7,), 7), 2),
    "timeout": stamped("r05", ExchangeEnded("r03", "1f03", "timeout", 3, 250_000)),
    "equal": stamped("r01", ExchangeEnded("r05", "2f01", "equal", 1, 8_000)),
    "crash": stamped("r11", WorkerCrashed("secret_merger", "KeyError: 'a.b=c'")),
    "successor": stamped("supervisor:1f", SupervisorBegan(True), 0),
    "dropped": stamped("r01", MessageDropped("r05", 3, "answer", "2f01", "the outbox is full", 9, cause=(1, 4, 0))),
}


@pytest.mark.parametrize(
    ("filters", "shown"),
    [
        ([], list(LOG)),
        (["r03"], ["merged", "merged later"]),
        (["r03/2"], ["merged later"]),
        (["r0*"], ["merged", "merged later", "timeout", "equal", "dropped"]),
        (["supervisor:*"], ["successor"]),
        (["parts.*"], ["merged", "merged later"]),
        (["*.ended"], ["timeout", "equal"]),
        (["peer=r05"], ["equal"]),
        (["*=r03"], ["merged", "merged later", "timeout"]),
        (["*=r03 !r03"], ["timeout"]),
        (["exchange=1f*"], ["timeout"]),
        (["indices=17"], ["merged"]),
        (["indices=4,17"], ["merged"]),
        (["cause=1,4,0"], ["dropped"]),
        (["error=KeyError*a.b=c*"], ["crash"]),
        (["is_successor=true"], ["successor"]),
        (["took_us>8000"], ["timeout"]),
        (["took_us<8001"], ["equal"]),
        (["life=2"], ["merged later"]),
        (["name=run.*"], ["go"]),
        (["r03 parts.* !sender=r01"], ["merged"]),
        (["worker.crashed", "run.started"], ["go", "crash"]),
        (["!*.*"], []),
    ],
)
def test_an_event_is_shown_when_all_words_of_one_filter_match(filters: list[str], shown: list[str]) -> None:
    wanted = filter_of(filters)

    assert [name for name, event in LOG.items() if wanted(event)] == shown


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "an empty filter; a word is a source (r03), an event's name (parts.*) or a field (peer=r05)"),
        ("!", "nothing stands after !"),
        ("part.merged", "no event is named 'part.merged'; did you mean 'parts.merged'?"),
        ("zebra.*", "no event is named 'zebra.*'"),
        ("pear=r05", "no event has a field 'pear'; did you mean 'peer'?"),
        ("=r05", "'=r05' names no field"),
        ("took_us>long", "'long' is no number; after took_us> one is allowed"),
        ("r03/two", "'two' in 'r03/two' is no number of a life; allowed is r03/2"),
    ],
)
def test_what_is_no_filter_is_refused_in_one_line(text: str, complaint: str) -> None:
    with pytest.raises(FilterSyntaxError) as refused:
        filter_of([text])

    assert str(refused.value).startswith(complaint)
    assert "\n" not in str(refused.value)
