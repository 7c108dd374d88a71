"""The run's own trace: the run, its plan, injections and lives, what each life learnt, and its verdict."""

from __future__ import annotations

import pytest

from telemetry.events import (
    PartsMerged,
    RelayResumed,
    RobotBorn,
    RobotLeft,
    SecretWritten,
    WorkerCrashed,
    WorkerStarted,
)
from telemetry.record.rows import (
    DeathRow,
    FailureRow,
    InjectionRow,
    LeadershipGapRow,
    OrderRow,
    PartRow,
    PlannedFault,
    PlanRow,
    QuietRow,
)
from telemetry.tracing.clocks import shift_us_of
from telemetry.tracing.exchanges import traces_of
from telemetry.tracing.life_spans import MOST_LEARNT
from telemetry.tracing.run_trace import run_trace
from telemetry.tracing.spans import Span, Trace
from tests.telemetry.tracing.simulated import history
from tests.telemetry.tracing.story import START_MS, Story

BASE_US = START_MS * 1000


def a_run() -> Story:
    """r01 is taught by r02, crashes once, and writes the secret; r02 is killed, and lives again; the relay, too."""
    story = Story()
    story.orders += [OrderRow(story.entry(at), order) for at, order in ((0, "dealt"), (20, "go"), (500, "stop"))]
    for at_ms, faults in ((0, [PlannedFault(0, "loss 0.2")]), (100, []), (501, [])):
        story.controls.append(PlanRow(0, story.entry(at_ms), tuple(faults), "", "heal" if at_ms == 100 else "", ""))
    story.event("r01", 10, RobotBorn(1, 2))
    story.event("r02", 12, RobotBorn(1, 2))
    summary = story.sent("summary", "r02 r01", 30, 0.2, parts=1)
    story.fate("summary", summary, 30.1, [5.0])
    story.taken("summary", summary, 35.1, 36)
    story.merged(summary, 40, (7,), 2)
    story.journals += [
        PartRow("r01", "1-2", 0, "one", False, None),
        PartRow("r01", "1-3", 7, "two", True, ("r02", 1, 1, 0)),
        QuietRow("r01", "1-4", 10, "", BASE_US + 300_000),
    ]
    story.event("r01", 50, WorkerCrashed("secret_merger", "InjectedCrash: injected"))
    story.event("r01", 74, WorkerStarted("secret_merger"))
    story.event("r01", 302, SecretWritten(7, "aof"))
    story.event("r01", 505, RobotLeft("complete"))
    story.fleet += [
        InjectionRow(story.entry(90), "kill", "robot", "r02"),
        DeathRow(story.entry(91), "r02", "r02", 1, "signal", -9),
        FailureRow(story.entry(95), "resume", "r03", "it is not paused"),
        DeathRow(story.entry(120), "relay:0", "", 0, "signal", -9),
        LeadershipGapRow(story.entry(200), 30_000),
    ]
    story.event("r02", 105, RobotBorn(1, 3), life=2)
    story.event("relay:0", 140, RelayResumed(0, 3), life=2)
    story.event("r02", 503, RobotLeft("complete"), life=2)
    return story


def the_span(trace: Trace, name: str, service: str = "", **about: object) -> Span:
    found = [
        span
        for span in trace.spans
        if span.name == name
        and service in ("", span.service)
        and about.items() <= {key.removeprefix("gossip."): value for key, value in span.attributes}.items()
    ]
    assert len(found) == 1, [(span.name, span.service, span.attributes) for span in trace.spans]
    return found[0]


def times_ms(span: Span) -> tuple[float, float]:
    return (span.start_us - BASE_US) / 1000, (span.end_us - BASE_US) / 1000


def test_the_run_lasts_from_its_deal_to_the_order_to_stop() -> None:
    trace = run_trace(a_run().history())

    assert trace.spans[0].name == "run"
    assert times_ms(trace.spans[0]) == (0, 500)
    assert times_ms(the_span(trace, "births")) == (0, 20)
    assert all(span.parent is not None for span in trace.spans[1:])


def test_each_plan_lasts_until_the_next_one() -> None:
    trace = run_trace(a_run().history())

    plans = [(dict(span.attributes)["gossip.faults"], times_ms(span)) for span in trace.spans if span.name == "plan"]
    assert plans == [("loss 0.2", (0, 100)), ("calm", (100, 501)), ("calm", (501, 501))]
    assert the_span(trace, "plan", request="heal").service == "lab"


def test_a_killed_life_is_an_error_and_the_gap_until_the_next_is_shown() -> None:
    trace = run_trace(a_run().history())

    first, second = (the_span(trace, "life", "r02", incarnation=life) for life in (1, 2))
    assert (first.error, times_ms(first)) == ("killed", (12, 91))
    assert times_ms(the_span(trace, "down", "r02")) == (91, 105)
    assert (second.error, times_ms(second)) == ("", (105, 503))
    assert dict(second.attributes)["gossip.left"] == "complete"


def test_the_relay_has_lives_too() -> None:
    trace = run_trace(a_run().history())

    lives = [(span.error, times_ms(span)) for span in trace.spans if (span.name, span.service) == ("life", "relay:0")]
    assert lives == [("killed", (0, 120)), ("", (140, 500))]
    assert times_ms(the_span(trace, "down", "relay:0")) == (120, 140)


def test_injections_failures_and_gaps_are_shown() -> None:
    trace = run_trace(a_run().history())

    assert the_span(trace, "injection", verb="kill", target="robot", victim="r02").error == ""
    assert the_span(trace, "injection", verb="resume").error == "not done"
    assert times_ms(the_span(trace, "no supervisor")) == (170, 200)


def test_a_crash_lasts_until_the_worker_runs_again() -> None:
    restart = the_span(run_trace(a_run().history()), "restart secret_merger", "r01")

    assert restart.error == "InjectedCrash"
    assert times_ms(restart) == (50, 74)


def test_what_a_life_learnt_and_the_write_are_linked_to_the_merge() -> None:
    # Given a run in which r01 learnt one part, and wrote
    run = a_run().history()
    [exchange] = traces_of(run)
    [merge] = [span for span in exchange.spans if span.name == "merge"]
    trace = run_trace(run)
    # Then both are linked to the span in which it was merged
    learn, write = the_span(trace, "learn", "r01"), the_span(trace, "write secret", "r01")
    for span in (learn, write):
        assert [(link.trace, link.span) for link in span.links] == [(merge.trace, merge.span)]
    # and say by themselves what a link's target would
    assert dict(learn.attributes)["gossip.exchange"] == a_run().exchange
    assert dict(learn.attributes)["gossip.parts.indices"] == "7"
    assert times_ms(write) == (300, 302)
    assert dict(write.attributes)["gossip.outcome"] == "written"


def test_a_life_shows_fifty_lessons_at_most() -> None:
    story = Story()
    story.event("r01", 1, RobotBorn(0, 0))
    for number in range(MOST_LEARNT + 7):
        story.event("r01", 2 + number, PartsMerged("r02", 1, number + 1, 0, (number,), number + 1))

    trace = run_trace(story.history())

    assert [span.name for span in trace.spans].count("learn") == MOST_LEARNT
    assert dict(the_span(trace, "life", "r01").attributes)["gossip.learn.left_out"] == 7


@pytest.mark.parametrize(("word", "error"), [("HELD", ""), ("UNPROVEN", ""), ("BROKEN", "BROKEN")])
def test_the_root_carries_the_verdict_and_each_promise(word: str, error: str) -> None:
    promises = {"once": {"state": word, "why": "because"}, "right": {"state": "HELD", "why": "it is"}}

    root = run_trace(a_run().history(), {"verdict": word, "promises": promises}).spans[0]

    assert root.error == error
    assert dict(root.attributes)["gossip.verdict"] == word
    assert [dict(event.attributes)["gossip.promise"] for event in root.events] == ["once", "right"]


def test_a_death_of_a_robot_whose_journal_is_gone_is_that_of_the_life_that_was_there() -> None:
    # Given a robot whose journal was deleted when it was killed: its death does not know which life it was
    story = Story()
    story.event("r01", 1, RobotBorn(1, 1))
    story.fleet.append(DeathRow(story.entry(50), "r01", "r01", 0, "signal", -9))
    story.event("r01", 70, RobotBorn(0, 0), life=2)

    trace = run_trace(story.history())

    assert the_span(trace, "life", "r01", incarnation=1).error == "killed"
    assert the_span(trace, "life", "r01", incarnation=2).error == ""


def test_a_simulated_run_ends_when_its_record_was_made() -> None:
    # Given a simulated run, whose own clock begins in the year 2000, and when its record was made
    run, made_us = history("lossy", 3), 1_790_000_000_123_456
    shift_us = shift_us_of(run, made_us)
    # When its traces are derived
    traces = [*traces_of(run, shift_us), run_trace(run, None, shift_us)]
    # Then they end there, and are the same otherwise
    newest_us = max(stamped.wall_us for stamped in run.events) + shift_us
    assert 0 <= made_us - newest_us < 1000
    plain = [*traces_of(run), run_trace(run)]
    for moved, trace in zip(traces, plain, strict=True):
        assert [span.start_us - shift_us for span in moved.spans] == [span.start_us for span in trace.spans]
        assert [(span.span, span.attributes) for span in moved.spans] == [
            (span.span, span.attributes) for span in trace.spans
        ]


def test_a_live_run_is_never_shifted() -> None:
    assert shift_us_of(a_run().history(), 1_790_000_000_000_000) == 0
