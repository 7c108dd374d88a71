"""What holds of the traces of every run: twenty seeds of each preset, every second one with chaos."""

from __future__ import annotations

from collections import Counter

import pytest

from telemetry.events import ExchangeEnded, MessageReceived, PartsMerged
from telemetry.record.clocks import envelope_of
from telemetry.record.history import History
from telemetry.record.rows import DeathRow, FailureRow, FateRow, InjectionRow, PlanRow, ms_of
from telemetry.tracing.exchanges import ExchangeFold, traces_of
from telemetry.tracing.listing import exchange_of
from telemetry.tracing.run_trace import run_trace
from telemetry.tracing.spans import Span, Trace
from tests.telemetry.tracing.simulated import history

RUNS = [(preset, seed) for preset in ("calm", "lossy", "storm", "split") for seed in range(6)]
NO_EXCHANGE = "00" * 8  # of a copy that the lab itself puts into an inbox
POLL_US = 100_000

every_run = pytest.mark.parametrize(("preset", "seed"), RUNS)


def the_history(preset: str, seed: int) -> History:
    return history(preset, seed, has_chaos=seed % 2 == 1, relays=1 + seed % 3 // 2)


def assert_whole(trace: Trace) -> None:
    """One root, no orphan, no child before its parent, at most eight attributes."""
    by_id = {span.span: span for span in trace.spans}
    assert [span for span in trace.spans if span.parent is None] == [trace.spans[0]]
    for span in trace.spans[1:]:
        assert span.parent in by_id, span
        assert by_id[span.parent].start_us <= span.start_us <= span.end_us, span
    assert {span.trace for span in trace.spans} == {trace.spans[0].trace}
    assert max(len(span.attributes) for span in trace.spans) <= 8


def arriving(run: History) -> list[Trace]:
    """What the fold gives out when it polls the run as it happens, relays and robots side by side."""
    fold = ExchangeFold(run.settings.run, run.settings.seed)
    fates = [row for row in run.fates if isinstance(row, FateRow)]
    deaths = [row for row in run.fleet if isinstance(row, DeathRow)]
    arrivals = [(stamped.wall_us, lambda stamped=stamped: fold.event(stamped)) for stamped in run.events]
    arrivals += [(ms_of(row.stored) * 1000, lambda row=row: fold.fate(row)) for row in fates]
    arrivals += [(ms_of(row.id) * 1000, lambda row=row: fold.control(row)) for row in run.controls]
    arrivals += [(ms_of(row.id) * 1000, lambda row=row: fold.death(row)) for row in deaths]
    given_out: list[Trace] = []
    due_us = 0
    for at_us, arrive in sorted(arrivals, key=lambda arrival: arrival[0]):
        if at_us >= due_us:
            given_out += fold.complete()
            due_us = at_us + POLL_US
        arrive()
    return given_out + fold.finish()


@every_run
def test_every_exchange_has_one_whole_trace_that_shows_how_it_ended(preset: str, seed: int) -> None:
    # Given a run
    run = the_history(preset, seed)
    # When its traces are derived
    traces = list(traces_of(run))
    # Then each exchange that any robot or relay knows has one,
    fates = [row for row in run.fates if isinstance(row, FateRow) and row.exchange is not None]
    ended = {
        stamped.event.exchange: stamped.event.outcome
        for stamped in run.events
        if isinstance(stamped.event, ExchangeEnded)
    }
    assert Counter(map(exchange_of, traces)) == Counter({row.exchange for row in fates} | ended.keys())
    # which is whole,
    for trace in traces:
        assert_whole(trace)
    ids = Counter(span.span for trace in traces for span in trace.spans)
    assert max(ids.values()) == 1
    # and says how its initiator saw it end
    outcomes = {exchange_of(trace): dict(trace.spans[0].attributes)["gossip.outcome"] for trace in traces}
    assert {exchange: outcomes[exchange] for exchange in ended} == ended


@every_run
def test_spans_show_what_the_evidence_shows_and_no_more(preset: str, seed: int) -> None:
    # Given a run and its traces
    run = the_history(preset, seed)
    spans = [span for trace in traces_of(run) for span in trace.spans]
    # Then there is one span of a relay for each envelope that a relay decided, and it says what
    fates = {
        (f"relay:{row.shard}", row.id): row
        for row in run.fates
        if isinstance(row, FateRow) and envelope_of(row) is not None
    }
    relays = {
        (span.service, dict(span.attributes)["messaging.message.id"]): dict(span.attributes)
        for span in spans
        if span.name.startswith("relay ")
    }
    assert relays.keys() == fates.keys()
    for entry, about in relays.items():
        assert about["gossip.fate"] == fates[entry].fate
        assert about.get("gossip.faults", "") == ", ".join(fault.fault for fault in fates[entry].faults)
    # and one for each copy that was taken, and each that taught something
    assert named(spans, "process") == events(run, MessageReceived)
    assert named(spans, "merge") == events(run, PartsMerged)


def named(spans: list[Span], operation: str) -> Counter[str]:
    """How many spans of that operation each robot has, but for what was refused."""
    found = [span for span in spans if span.name.split()[0] == operation and span.error != "contradiction"]
    return Counter(span.service for span in found)


def events(run: History, kind: type[MessageReceived | PartsMerged]) -> Counter[str]:
    """How many of that kind each robot reported, but for what the lab itself put into its inbox."""
    return Counter(
        stamped.source
        for stamped in run.events
        if isinstance(stamped.event, kind) and getattr(stamped.event, "exchange", "") != NO_EXCHANGE
    )


@every_run
def test_the_same_run_gives_the_same_bytes(preset: str, seed: int) -> None:
    run = the_history(preset, seed)

    first, second = ([*traces_of(run), run_trace(run)] for _ in range(2))

    assert repr(first) == repr(second)


@every_run
def test_a_run_that_is_followed_gives_the_same_spans_each_once(preset: str, seed: int) -> None:
    # Given a run whose evidence arrives while it goes on
    run = the_history(preset, seed)
    # When a reader polls it
    given_out = arriving(run)
    # Then every exchange is given out with one root, and every span once: those of the whole record, no more
    at_once = list(traces_of(run))
    roots = [trace for trace in given_out if trace.spans[0].parent is None]
    assert sorted(map(exchange_of, roots)) == sorted(map(exchange_of, at_once))
    ids = Counter(span.span for trace in given_out for span in trace.spans)
    assert max(ids.values()) == 1
    assert ids.keys() == {span.span for trace in at_once for span in trace.spans}
    # And what was complete when it was given out is the same to the last bit
    late = {trace.spans[0].trace for trace in given_out if trace.spans[0].parent is not None}
    whole = {trace.spans[0].trace: trace for trace in at_once}
    assert [trace for trace in roots if trace.spans[0].trace not in late and whole[trace.spans[0].trace] != trace] == []


@every_run
def test_the_trace_of_the_run_is_whole_and_knows_every_life_and_injection(preset: str, seed: int) -> None:
    # Given a run
    run = the_history(preset, seed)
    # When its own trace is derived
    trace = run_trace(run)
    # Then it is whole,
    assert_whole(trace)
    assert len({span.span for span in trace.spans}) == len(trace.spans)
    # every life of a robot is a span of its own, every injection, and every plan
    robots = {robot for robot, _ in births(run)}
    lives = Counter(span.service for span in trace.spans if span.name == "life" and span.service in robots)
    assert lives == Counter(robot for robot, _ in births(run))
    names = Counter(span.name for span in trace.spans)
    assert names["injection"] == sum(isinstance(row, InjectionRow | FailureRow) for row in run.fleet)
    assert names["plan"] == sum(isinstance(row, PlanRow) for row in run.controls)


def births(run: History) -> set[tuple[str, int]]:
    """The lives that were announced to a relay."""
    return {(row.robot, row.incarnation) for row in run.controls if not isinstance(row, PlanRow)}


@every_run
def test_every_link_of_the_run_leads_to_a_merge_in_the_trace_of_an_exchange(preset: str, seed: int) -> None:
    # Given all traces of a run
    run = the_history(preset, seed)
    spans = {(span.trace, span.span): span for trace in traces_of(run) for span in trace.spans}
    # Then what a life learnt, and what taught the writer, is linked to spans that are there
    own = run_trace(run)
    links = [(span, spans[link.trace, link.span]) for span in own.spans for link in span.links]
    assert {target.name for _, target in links} == {"merge"}
    assert all(span.service == target.service for span, target in links)
    # and all that taught the writer is linked, if it was written
    written = [span for span in own.spans if ("gossip.outcome", "written") in span.attributes]
    for span in written:
        learnt = {other.links for other in own.spans if other.name == "learn" and other.service == span.service}
        assert {(link,) for link in span.links} <= learnt
