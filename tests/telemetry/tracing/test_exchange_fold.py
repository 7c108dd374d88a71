"""When the fold gives an exchange out: once, as soon as it is complete, and what comes late below the same parents."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from telemetry.events import RobotBorn, RobotLeft, Stamped, TicksExecuted
from telemetry.record.rows import FateRow
from telemetry.tracing import exchanges
from telemetry.tracing.exchanges import ExchangeFold, traces_of
from telemetry.tracing.spans import Trace
from tests.telemetry.tracing import stories
from tests.telemetry.tracing.story import EXCHANGE, Story


def fold_of(story: Story, but: Iterable[Stamped | FateRow] = ()) -> ExchangeFold:
    """A fold that has read the story, but for some pieces."""
    fold = ExchangeFold("7b08e1", 7)
    left_out = list(but)
    for row in story.fates:
        if row not in left_out:
            fold.fate(row)
    for stamped in story.events:
        if stamped not in left_out:
            fold.event(stamped)
    return fold


def born(story: Story, *robots: str) -> Story:
    """The story of robots that were born before it began."""
    other = Story(story.exchange)
    for robot in robots:
        other.event(robot, -1.0, RobotBorn(0, 0))
    events = [
        Stamped(s.run, s.source, s.incarnation, s.number + 1, s.wall_us, s.wall_us, s.event) for s in story.events
    ]
    story.events[:] = other.events + events
    return story


def alive(story: Story, fold: ExchangeFold, at_ms: float) -> None:
    """Robots that were born report at `at_ms` that they go on."""
    for robot in dict.fromkeys(stamped.source for stamped in story.events):
        story.event(robot, at_ms, TicksExecuted(5))
        fold.event(story.events[-1])


def whole(story: Story) -> Trace:
    [trace] = traces_of(story.history())
    return trace


def test_a_complete_exchange_is_given_out_at_once_and_once() -> None:
    story = stories.answer_duplicated()
    fold = fold_of(story)

    assert fold.complete() == [whole(story)]
    assert fold.complete() == []
    assert fold.finish() == []


@pytest.mark.parametrize("missing", ["a fate", "a copy", "the end", "the answer", "the update"])
def test_an_exchange_waits_for_what_is_still_to_come(missing: str) -> None:
    # Given an exchange of robots that live, of which one piece was not read yet
    story = born(stories.clean(), "r02", "r04")
    names = {type(stamped.event).__name__: stamped for stamped in story.events}  # the last of each kind
    sent = [stamped for stamped in story.events if type(stamped.event).__name__ == "MessageSent"]
    piece = {
        "a fate": story.fates[1],
        "a copy": names["MessageReceived"],
        "the end": names["ExchangeEnded"],
        "the answer": sent[1],
        "the update": sent[2],
    }[missing]
    left_out = [piece, story.fates[2]] if missing == "the update" else [piece]
    fold = fold_of(story, left_out)
    # Then it is not given out, while that may still come
    assert fold.complete() == []
    # When it comes
    for late in left_out:
        fold.fate(late) if isinstance(late, FateRow) else fold.event(late)
    # Then the trace is whole
    assert fold.complete() == [whole(story)]


def test_a_reader_that_is_slow_does_not_take_for_lost_what_it_has_not_read() -> None:
    # Given an exchange without its last copy, and robots of which one was not read for long
    story = born(stories.clean(), "r02", "r04")
    last = [stamped for stamped in story.events if type(stamped.event).__name__ == "MessageReceived"][-1]
    fold = fold_of(story, [last])
    story.event("r04", 3000.0, TicksExecuted(5))
    fold.event(story.events[-1])
    # Then it waits for that robot
    assert fold.complete() == []
    # When that robot, too, has gone on without the copy
    story.event("r02", 3000.0, TicksExecuted(5))
    fold.event(story.events[-1])
    # Then the exchange is given out as it is
    [trace] = fold.complete()
    assert "process update" not in [span.name for span in trace.spans]


def test_a_robot_that_left_keeps_nothing_waiting() -> None:
    story = born(stories.clean(), "r02", "r04")
    last = [stamped for stamped in story.events if type(stamped.event).__name__ == "MessageReceived"][-1]
    fold = fold_of(story, [last])
    story.event("r02", 60.0, RobotLeft("complete"))
    fold.event(story.events[-1])
    assert fold.complete() == []

    story.event("r04", 3000.0, TicksExecuted(5))
    fold.event(story.events[-1])

    assert len(fold.complete()) == 1


def test_what_comes_late_is_given_out_below_the_same_parents() -> None:
    # Given an exchange that timed out while a partition held its messages back, and was given out then
    story = born(stories.held(), "r02", "r03")
    expected = whole(story)
    late_rows = [row for row in story.fates if row.faults]
    late_events = [s for s in story.events if s.wall_us > story.events[0].wall_us + 1_000_000]
    fold = fold_of(story, [*late_rows, *late_events])
    alive(story, fold, 3000.0)
    [first] = fold.complete()
    assert first.spans[0].parent is None
    # When the messages are freed
    for row in late_rows:
        fold.fate(row)
    for control in story.controls:
        fold.control(control)
    for stamped in late_events:
        fold.event(stamped)
    [late] = fold.complete()
    # Then what is new is given out, and the whole is what a record would have given
    assert {span.span for span in first.spans}.isdisjoint(span.span for span in late.spans)
    known = {span.span: span for span in expected.spans}
    assert {span.span for span in (*first.spans, *late.spans)} == known.keys()
    assert all(span.parent == known[span.span].parent for span in late.spans)
    assert fold.complete() == []


def test_what_was_forgotten_is_not_opened_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a fold that has room for one exchange, and forgets
    monkeypatch.setattr(exchanges, "MOST_REMEMBERED", 0)
    story = stories.answer_duplicated()
    fold = fold_of(story, story.events[-1:])
    fold.complete()
    fold.complete()
    # When one more fate of it is read
    fold.fate(story.fates[0])
    # Then it is counted, and no second root comes
    assert fold.late == 1
    assert fold.finish() == []


def test_memory_is_bounded_while_nothing_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a fold with room for ten open exchanges, and many that never end
    monkeypatch.setattr(exchanges, "MOST_OPEN", 10)
    fold = ExchangeFold("7b08e1", 7)
    for number in range(30):
        story = Story(f"{number:016x}")
        story.event("r04", -1.0, RobotBorn(0, 0))
        summary = story.sent("summary", "r04 r02", 0.0, 0.4, sequence=number + 1)
        story.fate("summary", summary, 0.1, [5.0])
        for stamped in story.events[number > 0 :]:
            fold.event(stamped)
        fold.fate(story.fates[0])
    # Then the oldest are given out as they are
    given_out = fold.complete()
    assert [dict(trace.spans[0].attributes)["gossip.exchange"] for trace in given_out] == [
        f"{number:016x}" for number in range(20)
    ]
    assert len(fold.finish()) == 10


def test_a_contradiction_that_the_lab_injected_is_no_exchange() -> None:
    # Given a copy that came past all relays
    story = Story("00" * 8)
    envelope = ("r03", 1 << 32, "r02", 1)
    story.taken("update", envelope, 1.0, 1.5)
    story.contradicted(envelope, 1.6, 3)
    # Then nothing is given out of it
    fold = fold_of(story)
    assert fold.complete() + fold.finish() == []


def test_a_merge_that_is_read_before_its_copy_finds_its_exchange() -> None:
    # Given what a copy taught, read before anything else of that envelope
    story = stories.clean()
    merges = [stamped for stamped in story.events if type(stamped.event).__name__ == "PartsMerged"]
    fold = ExchangeFold("7b08e1", 7)
    for stamped in merges:
        fold.event(stamped)
    for stamped in story.events:
        if stamped not in merges:
            fold.event(stamped)
    for row in story.fates:
        fold.fate(row)
    # Then the trace is whole
    assert fold.finish() == [whole(story)]
    assert story.exchange == EXCHANGE
