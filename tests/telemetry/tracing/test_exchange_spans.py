"""The trace of one exchange: what its spans are, whose they are, and how they hang together."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from telemetry.events import RobotLeft, WorkerCrashed
from telemetry.record.rows import FateRow
from telemetry.tracing.exchanges import traces_of
from telemetry.tracing.ids import exchange_trace_id, run_trace_id
from telemetry.tracing.run_trace import run_trace
from telemetry.tracing.spans import Span, SpanKind, Trace
from tests.telemetry.tracing import stories
from tests.telemetry.tracing.story import EXCHANGE, START_MS, Story

STORIES = [
    *(stories.clean, stories.summary_lost, stories.answer_lost, stories.answer_duplicated),
    *(stories.delayed, stories.receiver_killed, stories.held, stories.initiator_killed),
]


def the_trace(story: Story) -> Trace:
    [trace] = traces_of(story.history())
    return trace


def the_span(trace: Trace, name: str, **about: object) -> Span:
    """The only span of that name with these attributes of ours."""
    [span] = [
        span
        for span in trace.spans
        if span.name == name and about.items() <= {key[7:]: value for key, value in span.attributes}.items()
    ]
    return span


@pytest.mark.parametrize("story", STORIES)
def test_a_trace_has_one_root_and_every_span_hangs_below_it(story: Callable[[], Story]) -> None:
    trace = the_trace(story())

    by_id = {span.span: span for span in trace.spans}
    assert len(by_id) == len(trace.spans)
    assert [span.name for span in trace.spans if span.parent is None] == ["exchange"]
    assert trace.spans[0].parent is None
    for span in trace.spans[1:]:
        assert span.parent is not None
        parent = by_id[span.parent]
        assert parent.start_us <= span.start_us <= span.end_us
    assert {span.trace for span in trace.spans} == {exchange_trace_id("7b08e1", 7, EXCHANGE)}


@pytest.mark.parametrize("story", STORIES)
def test_no_span_has_more_than_eight_attributes(story: Callable[[], Story]) -> None:
    for span in the_trace(story()).spans:
        assert len(span.attributes) <= 8
        assert len(dict(span.attributes)) == len(span.attributes)


@pytest.mark.parametrize("story", STORIES)
def test_the_order_in_which_evidence_comes_plays_no_part(story: Callable[[], Story]) -> None:
    # Given a story, and its pieces in other orders: only the events of one life come in their order
    expected = the_trace(story())
    chance = random.Random(1)
    for _ in range(10):
        history = story().history()
        for rows in (history.fates, history.controls, history.fleet):
            chance.shuffle(rows)
        lives: dict[tuple[str, int], list[object]] = {}
        for stamped in history.events:
            lives.setdefault((stamped.source, stamped.incarnation), []).append(stamped)
        order = [life for life, events in lives.items() for _ in events]
        chance.shuffle(order)
        history.events[:] = [lives[life].pop(0) for life in order]  # type: ignore[misc]
        # When the trace is derived
        [trace] = traces_of(history)
        # Then it is the same, to the last bit
        assert trace == expected


def test_services_and_kinds_are_those_of_the_processes() -> None:
    trace = the_trace(stories.clean())

    assert [(span.service, span.kind) for span in trace.spans] == [
        ("r04", SpanKind.INTERNAL),
        *(("r04", SpanKind.PRODUCER), ("relay:0", SpanKind.CONSUMER), ("r02", SpanKind.CONSUMER)),
        *(("r02", SpanKind.PRODUCER), ("relay:0", SpanKind.CONSUMER), ("r04", SpanKind.CONSUMER)),
        ("r04", SpanKind.INTERNAL),
        *(("r04", SpanKind.PRODUCER), ("relay:0", SpanKind.CONSUMER), ("r02", SpanKind.CONSUMER)),
        ("r02", SpanKind.INTERNAL),
    ]


def test_a_lost_message_names_the_fault_and_the_outcome_of_its_exchange() -> None:
    # Given an exchange that timed out, because its answer was lost
    trace = the_trace(stories.answer_lost())
    # Then the relay's span alone says all of it
    relay = the_span(trace, "relay answer")
    assert relay.error == "lost"
    assert dict(relay.attributes)["gossip.faults"] == "loss 0.2"
    assert dict(relay.attributes)["gossip.outcome"] == "timeout"
    assert trace.spans[0].error == "timeout"


def test_an_answer_hangs_below_the_very_copy_that_it_answers() -> None:
    # Given a summary that came twice, and was answered twice
    story = Story()
    summary = story.sent("summary", "r04 r02", 0.0, 0.4)
    story.fate("summary", summary, 0.1, [5.0, 9.0], "duplicate 0.1")
    for copy, at_ms in ((1, 9.5), (0, 12.0)):  # the later copy is taken first
        story.taken("summary", summary, at_ms - 1, at_ms, copy=copy)
        answer = story.sent("answer", "r02 r04", at_ms + 0.1, 0.1, sequence=2 - copy, cause=(1, 1, copy))
        story.fate("answer", answer, at_ms + 0.2)
    # When the trace is derived
    trace = the_trace(story)
    # Then each copy has its own answer
    for copy, sequence in ((1, 1), (0, 2)):
        about = {"copy": copy} if copy else {}
        [process] = [
            span
            for span in trace.spans
            if span.name == "process summary" and dict(span.attributes).get("gossip.copy", 0) == copy
        ]
        answer_span = the_span(trace, "send answer", sequence=sequence)
        assert answer_span.parent == process.span, about


def test_a_message_that_only_its_fate_knows_is_drawn() -> None:
    # Given an answer whose sender was killed before it could report it
    trace = the_trace(stories.receiver_killed())
    # Then it stands at its place in the outbox, below the exchange, because what it answered is not known
    answer = the_span(trace, "send answer", witness="fate")
    assert answer.parent == trace.spans[0].span
    assert answer.start_us == answer.end_us == (START_MS + 7) * 1000
    # And the summary that the next life took again is a span of its own
    assert dict(the_span(trace, "process summary").attributes)["gossip.incarnation"] == 2


def test_a_redelivered_summary_is_processed_once_in_each_life() -> None:
    # Given a summary that r00 took in two lives, because the first was killed before it answered
    story = Story()
    summary = story.sent("summary", "r04 r00", 0.0, 0.3)
    story.fate("summary", summary, 0.1, [5.0])
    story.taken("summary", summary, 5.2, 6.0, life=1)
    story.died("r00", 1, 8.0)
    story.taken("summary", summary, 5.2, 90.0, life=2)
    answer = story.sent("answer", "r00 r04", 90.1, 0.2, life=2, cause=(1, 1, 0))
    story.fate("answer", answer, 90.2, [1.0])
    # When the trace is derived
    trace = the_trace(story)
    # Then the first one was killed at it, and the second one answered
    first = the_span(trace, "process summary", incarnation=1)
    second = the_span(trace, "process summary", incarnation=2)
    assert (first.error, first.end_us) == ("killed", (START_MS + 8) * 1000)
    assert second.error == ""
    assert first.span != second.span
    assert the_span(trace, "send answer").parent == second.span


@pytest.mark.parametrize(("life", "error"), [("killed", "killed"), ("crashed", "abandoned"), ("left", "")])
def test_an_exchange_without_an_end_ends_with_its_initiator(life: str, error: str) -> None:
    # Given an exchange whose initiator did not see its end
    story = Story()
    summary = story.sent("summary", "r04 r02", 0.0, 0.4)
    story.fate("summary", summary, 0.1, [5.0])
    if life == "killed":
        story.died("r04", 1, 30.0)
    else:
        event = (
            RobotLeft("complete") if life == "left" else WorkerCrashed("gossip_initiator", "InjectedCrash: injected")
        )
        story.event("r04", 30.0, event)
    # When the trace is derived
    root = the_trace(story).spans[0]
    # Then it says why
    assert root.error == error
    assert dict(root.attributes)["gossip.outcome"] == (error or "unfinished")
    if error:
        assert root.end_us == (START_MS + 30) * 1000


def test_a_dropped_message_is_an_error_of_its_sender() -> None:
    story = Story()
    story.dropped("summary", "r04 r02", 0.0, 0.2, "the outbox is full")
    story.ended("r04 r02", 200.0, "timeout")

    assert the_span(the_trace(story), "send summary").error == "outbox full"


def test_a_held_message_is_linked_to_the_plan_that_freed_it() -> None:
    # Given messages that a partition held back, until a plan change freed them
    story = stories.held()
    trace, run = the_trace(story), run_trace(story.history())
    # Then both are linked to the span of that plan, in the run's own trace
    freed = [span for span in trace.spans if span.links]
    assert [span.name for span in freed] == ["relay summary", "relay answer"]
    plans = [span for span in run.spans if span.name == "plan"]
    for span in freed:
        [link] = span.links
        assert (link.trace, link.span) == (run_trace_id("7b08e1", 7), plans[1].span)


def test_a_copy_that_came_again_is_an_event_and_no_span() -> None:
    trace = the_trace(stories.answer_duplicated())

    copy = the_span(trace, "process answer", copy=1)
    assert [event.name for event in copy.events] == ["message.repeated"]
    assert [span.name for span in trace.spans].count("process answer") == 2


def test_a_contradiction_is_an_error_of_the_merge() -> None:
    story = Story()
    summary = story.sent("summary", "r04 r02", 0.0, 0.4, parts=1)
    story.fate("summary", summary, 0.1, [5.0])
    story.taken("summary", summary, 5.2, 6.0)
    story.contradicted(summary, 6.5, 3)

    merge = the_span(the_trace(story), "merge")
    assert merge.error == "contradiction"
    assert dict(merge.attributes)["gossip.parts.indices"] == "3"


def test_what_only_garbage_claims_is_no_exchange() -> None:
    # Given a damaged frame that names an exchange which no relay has seen
    story = Story()
    story.refused("summary", ("r09", 1, "r02", 5), 1.0, 2.0)
    # Then nothing is drawn of it
    assert list(traces_of(story.history())) == []


def test_a_damaged_copy_is_believed_only_where_its_fate_is_the_same() -> None:
    # Given an envelope that arrived whole, and a damaged frame that claims to be a copy of it
    story = Story()
    summary = story.sent("summary", "r04 r02", 0.0, 0.4)
    story.fate("summary", summary, 0.1, [5.0])
    story.taken("summary", summary, 5.2, 6.0)
    story.refused("summary", summary, 7.0, 8.0, copy=1)
    # Then the trace does not know it
    assert [span.name for span in the_trace(story).spans if span.name.startswith("refuse")] == []


@pytest.mark.parametrize("ahead_ms", [37.0, -37.0, 5000.0])
def test_a_robot_whose_clock_is_wrong_comes_back_within_a_millisecond(ahead_ms: float) -> None:
    # Given the same history, once with all clocks right, and once with one robot's clock wrong
    def history(ahead: dict[str, float]) -> Trace:
        story = Story(ahead_ms=ahead)
        summary = story.sent("summary", "r04 r02", 0.0, 0.1)
        story.fate("summary", summary, 0.05, [5.0])
        story.taken("summary", summary, 5.1, 6.0)
        answer = story.sent("answer", "r02 r04", 6.3, 0.2, cause=(1, 1, 0))
        story.fate("answer", answer, 6.4, [5.0])
        story.taken("answer", answer, 11.4, 12.0)
        story.ended("r04 r02", 12.1, "answered")
        return the_trace(story)

    right, wrong = history({}), history({"r02": ahead_ms})
    # Then every span is where it was, but for a millisecond
    assert [span.span for span in wrong.spans] == [span.span for span in right.spans]
    for one, other in zip(right.spans, wrong.spans, strict=True):
        assert abs(one.start_us - other.start_us) < 1000
        assert abs(one.end_us - other.end_us) < 1000


def test_a_clock_that_is_a_little_ahead_is_left_alone() -> None:
    # Given a robot whose clock is 1.5 ms ahead: so much could be the way to the server
    story = Story(ahead_ms={"r04": 1.5})
    summary = story.sent("summary", "r04 r02", 0.0, 0.1)
    story.fate("summary", summary, 0.05, [5.0])
    # Then its times are as it reported them
    assert the_span(the_trace(story), "send summary").start_us == START_MS * 1000 + 1500


def test_a_robot_that_was_slow_is_not_taken_for_one_whose_clock_is_wrong() -> None:
    # Given a robot whose only message was stored at once, but reported 30 ms later
    story = Story()
    summary = story.sent("summary", "r04 r02", 0.0, 30.0)
    story.fate("summary", summary, 0.05, [5.0])
    # Then its times are as it reported them
    sent = the_span(the_trace(story), "send summary")
    assert (sent.start_us, sent.end_us) == (START_MS * 1000, START_MS * 1000 + 30_000)


def test_a_fate_that_a_second_relay_decided_again_changes_nothing() -> None:
    # Given a relay that was killed, and a successor that stored the same fate again, later
    story = stories.clean()
    expected = the_trace(story)
    first = story.fates[0]
    again = FateRow(**{**{name: getattr(first, name) for name in first.__struct_fields__}, "stored": story.entry(900)})
    # Then the trace is the same, whichever is read first
    for fates in ([*story.fates, again], [again, *story.fates]):
        history = story.history()
        history.fates[:] = fates
        [trace] = traces_of(history)
        assert trace == expected
