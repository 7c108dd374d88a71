"""From events to metrics: what each event moves, in which series, and how little the fold remembers."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from telemetry.events import (
    AnyEvent,
    ChannelPressure,
    ExchangeEnded,
    MessageDropped,
    MessageReceived,
    MessageRefused,
    MessageSent,
    PartsMerged,
    RobotBorn,
    RobotComplete,
    RobotQuiet,
    RunDealt,
    Stamped,
)
from telemetry.metrics import table
from telemetry.metrics.fold import MetricsFold
from telemetry.metrics.series import MOST_SERIES
from telemetry.metrics.table import METRICS, Metric
from telemetry.tracing.ids import exchange_trace_id, span_id
from tests.telemetry.metrics.story import (
    EXCHANGE,
    RUN,
    SEED,
    ZERO_US,
    Story,
    decided,
    distributions,
    folded,
    moved,
    numbers,
    whole_story,
)


def test_every_event_moves_what_the_table_names_and_nothing_else() -> None:
    # Given a story in which each metric has a part
    events = whole_story()
    for at, stamped in enumerate(events):
        # When one more event is folded
        changed = moved(folded(events[:at]), folded(events[: at + 1]))
        # Then only metrics have changed whose row names it
        assert changed <= {metric for metric in METRICS if type(stamped.event) in metric.events}, stamped.event
    # And together they have moved every metric but the reader's own
    assert moved(folded([]), folded(events)) == set(METRICS) - {table.MISSED}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_event_of_a_row_moves_its_metric(metric: Metric) -> None:
    events = whole_story()
    for kind in metric.events:
        # Given the story without the events of one kind that the row names
        without = [stamped for stamped in events if type(stamped.event) is not kind]
        # Then the metric differs
        assert metric in moved(folded(without), folded(events)), kind


def test_the_values_depend_on_the_events_alone() -> None:
    # Given a story
    events = whole_story()
    snapshot = folded(events)
    # When it is folded again, and in other orders of its sources
    for seed in range(20):
        # Then the values are the same
        assert folded(_interleaved(events, seed)) == snapshot


def _interleaved(events: list[Stamped], seed: int) -> list[Stamped]:
    """The events of each source in their order, and of different ones in any."""
    chance = random.Random(seed)
    waiting: dict[str, list[Stamped]] = {}
    for stamped in events:
        waiting.setdefault(stamped.source, []).append(stamped)
    mixed = waiting.pop("lab")[:1]  # the size of the secret is known first
    rest = [stamped for stamped in events if stamped.source == "lab"][1:]
    waiting["lab"] = rest
    while sources := [source for source, left in waiting.items() if left]:
        mixed.append(waiting[chance.choice(sources)].pop(0))
    return mixed


def test_messages_are_counted_by_kind_robot_and_error() -> None:
    snapshot = folded(whole_story())

    assert numbers(snapshot, table.SENT) == {
        ("summary", "r00", ""): 1,
        ("answer", "r01", ""): 1,
        ("update", "r00", "outbox full"): 1,
    }
    assert numbers(snapshot, table.CONSUMED) == {
        ("summary", "r01", "", ""): 1,
        ("answer", "r00", "", ""): 1,
        ("answer", "r00", "bad checksum", ""): 1,
        ("", "r00", "", "true"): 1,
    }


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("the outbox is away", "outbox away"),
        ("frame of 99999 bytes, allowed are 5 to 74240", "bad size"),
        ("not an envelope: Input data was truncated", "not an envelope"),
        ("not a summary", "bad body"),
        ("a text that no code of ours writes", "_OTHER"),
    ],
)
def test_a_reason_is_a_label_of_few_values_whatever_it_quotes(reason: str, error: str) -> None:
    dropped = folded(Story().happened(0, "r00", MessageDropped("r01", 1, "update", EXCHANGE, reason, 0)).events)
    refused = folded(Story().happened(0, "r00", MessageRefused("1-1", reason, kind="what a frame claims")).events)

    assert numbers(dropped, table.SENT) == {("update", "r00", error): 1}
    assert numbers(refused, table.CONSUMED) == {("", "r00", error, ""): 1}


def test_durations_are_those_of_the_clocks() -> None:
    snapshot = folded(whole_story())

    # The summary was taken at 30 ms, and its answer, sent at 30.4 ms, had waited for 0.1 ms
    process = distributions(snapshot, table.PROCESS)
    assert process["summary",].total == pytest.approx(0.0003)
    assert process["answer",].total == pytest.approx(0.001)  # its update was dropped, and was ready all the same
    # The summary was in the outbox at 10 ms, and the answer at 30.4 ms
    transit = distributions(snapshot, table.TRANSIT)
    assert (transit["summary",].total, transit["answer",].total) == (0.02, 0.02)
    assert distributions(snapshot, table.EXCHANGE)["answered",].total == 0.0415
    assert distributions(snapshot, table.LAG)["relay:0",].total == 0.002


def test_each_copy_of_an_envelope_has_a_transit_even_when_it_is_seen_before_its_sender_reports() -> None:
    # Given two copies of which one was taken before the event of the sender was read, and the other after it
    story = Story()
    copies = [MessageReceived("r00", 1, 1, copy, "update", EXCHANGE, 0, f"{copy}-1") for copy in (0, 1)]
    story.happened(3_000, "r01", copies[0])
    story.happened(1_000, "r00", MessageSent("r01", 1, "update", EXCHANGE, 1, 20, 0))
    story.happened(9_000, "r01", copies[1])

    transit = distributions(folded(story.events), table.TRANSIT)["update",]

    assert (transit.count, transit.least, transit.greatest) == (2, 0.002, 0.008)


def test_a_clock_that_is_behind_makes_no_negative_duration() -> None:
    story = Story().happened(1_000, "r00", MessageSent("r01", 1, "update", EXCHANGE, 1, 20, 0))
    story.happened(400, "r01", MessageReceived("r00", 1, 1, 0, "update", EXCHANGE, 0, "1-1"))

    transit = distributions(folded(story.events), table.TRANSIT)["update",]

    assert (transit.counts[0], transit.total, transit.least) == (1, 0.0, 0.0)


def test_a_bucket_holds_what_is_at_most_its_bound() -> None:
    story = Story()
    for took_us in (100, 101, 5_000_000, 5_000_001):
        story.happened(0, "r00", ExchangeEnded("r01", EXCHANGE, "timeout", 1, took_us))

    counts = distributions(folded(story.events), table.EXCHANGE)["timeout",].counts

    assert (counts[0], counts[1], counts[-2], counts[-1], sum(counts)) == (1, 1, 1, 1, 4)


def test_an_exemplar_names_the_last_exchange_of_its_bucket_by_the_ids_of_its_trace() -> None:
    # Given two exchanges that took about as long, and one that took longer
    story = Story()
    for at_us, exchange, took_us in ((1, "aa", 30_000), (2, "bb", 40_000), (3, "cc", 400_000)):
        story.happened(at_us, "r00", ExchangeEnded("r01", exchange, "equal", 1, took_us))

    exemplars = distributions(folded(story.events), table.EXCHANGE)["equal",].exemplars

    # Then each bucket leads to its last one
    found = [(one.trace, one.span, one.value, one.at_us) for one in exemplars if one is not None]
    traces = [exchange_trace_id(RUN, SEED, exchange) for exchange in ("bb", "cc")]
    assert found == [
        (traces[0], span_id(traces[0], "exchange"), 0.04, ZERO_US + 2),
        (traces[1], span_id(traces[1], "exchange"), 0.4, ZERO_US + 3),
    ]


def test_relays_count_each_fate_once() -> None:
    batch = decided(offered=10, lost=2, corrupted=1, stale=1, refused=1, duplicated=2, delayed=3, copies=8, lag_us=900)

    snapshot = folded(Story().happened(0, "relay:1", batch).happened(1, "relay:1", batch).events)

    fates = numbers(snapshot, table.RELAYED)
    assert fates == {
        ("relay:0", "delivered"): 10,
        ("relay:0", "lost"): 4,
        ("relay:0", "corrupt"): 2,
        ("relay:0", "stale"): 2,
        ("relay:0", "refused"): 2,
    }
    assert sum(fates.values()) == 20
    assert [numbers(snapshot, metric) for metric in (table.COPIES, table.DUPLICATED, table.DELAYED)] == [
        {("relay:0",): 16},
        {("relay:0",): 4},
        {("relay:0",): 6},
    ]


def test_a_batch_that_a_partition_freed_is_no_sign_of_a_relays_lag() -> None:
    story = Story().happened(0, "relay:0", decided(offered=5, copies=5, freed=5))
    assert distributions(folded(story.events), table.LAG) == {}

    story.happened(1, "relay:0", decided(offered=5, copies=5, freed=5, kept=1, lag_us=30))
    assert distributions(folded(story.events), table.LAG)["relay:0",].count == 1


def test_gauges_show_the_newest_life_and_not_what_an_older_one_reports_late() -> None:
    # Given a robot that was complete and quiet, and lives again with less
    story = Story().happened(0, "lab", RunDealt(2, 3), life=0)
    story.happened(1, "r00", RobotBorn(3, 0)).happened(2, "r00", RobotQuiet(9))
    story.happened(3, "r00", RobotBorn(1, 1), life=2)
    # When its first life reports something late
    story.happened(4, "r00", PartsMerged("r01", 1, 1, 0, (7,), 3)).happened(5, "r00", RobotComplete(3))

    snapshot = folded(story.events)

    gauges = (table.PARTS, table.COMPLETE, table.QUIET, table.INCARNATION)
    assert [numbers(snapshot, gauge)["r00",] for gauge in gauges] == [1, 0, 0, 2]
    # But what it learnt was learnt, and both lives began
    assert numbers(snapshot, table.MERGED) == {("r00",): 1}
    assert numbers(snapshot, table.BIRTHS) == {("r00",): 2}


def test_a_robot_that_is_born_with_all_parts_is_complete() -> None:
    story = Story().happened(0, "lab", RunDealt(2, 3), life=0)
    story.happened(1, "r00", RobotBorn(3, 3), life=2).happened(1, "r01", RobotBorn(2, 2), life=2)

    assert numbers(folded(story.events), table.COMPLETE) == {("r00",): 1, ("r01",): 0}


def test_a_channels_reports_of_all_that_it_dropped_are_not_added_up_within_a_life() -> None:
    story = Story()
    for dropped in (1, 2, 4):
        story.happened(0, "r00", ChannelPressure("outbox", dropped))
    story.happened(1, "r00", ChannelPressure("outbox", 2), life=2)  # counts from 0 again
    story.happened(1, "r00", ChannelPressure("outbox", 4), life=1)  # an older life's, spilled, comes late
    story.happened(1, "r00", ChannelPressure("outbox", 3), life=2)
    story.happened(2, "relay:0", ChannelPressure("events", 3))

    assert numbers(folded(story.events), table.OVERFLOWED) == {("r00", "", "outbox"): 7, ("", "relay:0", "events"): 3}


def test_an_anomaly_counts_while_it_goes_on() -> None:
    assert numbers(folded(whole_story()), table.ANOMALIES) == {("relay lag",): 1, ("late beat",): 0}


def test_what_the_reader_missed_is_a_metric_too() -> None:
    assert numbers(folded(whole_story(), missed=5), table.MISSED) == {(): 5}


@pytest.mark.parametrize("dealt", [100, 101])
def test_more_than_100_robots_are_summed_up_gauges_too(dealt: int) -> None:
    # Given a run of so many robots, each with 2 parts of 2, and a life that began and learnt one
    story = Story().happened(0, "lab", RunDealt(dealt, 2), life=0)
    for number in range(dealt):
        story.happened(1, f"r{number:03d}", RobotBorn(1, 0))
        story.happened(2, f"r{number:03d}", PartsMerged("r000", 1, 1, 0, (1,), 2))
        story.happened(3, f"r{number:03d}", RobotComplete(2))

    snapshot = folded(story.events)

    # Then up to 100 have series of their own, and more have one together
    expected = {(f"r{number:03d}",) for number in range(100)} if dealt == 100 else {("",)}
    for metric, total in (
        (table.PARTS, 2 * dealt),
        (table.COMPLETE, dealt),
        (table.INCARNATION, dealt),
        (table.BIRTHS, dealt),
        (table.MERGED, dealt),
    ):
        found = numbers(snapshot, metric)
        assert (set(found), sum(found.values())) == (expected, total), metric.name


def test_what_was_counted_by_robot_is_kept_when_the_101st_robot_joins() -> None:
    story = Story()
    for number in range(101):
        story.happened(1, f"r{number:03d}", RobotBorn(1, 0))

    for count, expected in ((100, 100), (101, 1)):
        found = numbers(folded(story.events[:count]), table.BIRTHS)
        assert (len(found), sum(found.values())) == (expected, count)


def test_garbage_cannot_make_more_series_than_a_metric_may_have() -> None:
    # Given a writer of events that invents a shard, a kind and a channel each time
    fold, most = MetricsFold(SEED), MOST_SERIES + 500
    for number in range(most):
        invented: tuple[AnyEvent, ...] = (
            decided(shard=number, offered=1, lag_us=1),
            MessageSent("r01", number, f"kind {number}", EXCHANGE, 0, 0, 0),
            ChannelPressure(f"channel {number}", 1),
        )
        for event in invented:
            fold.add(Stamped(RUN, "r00", 1, number, number, number, event))
    snapshot = fold.snapshot()

    # Then each metric has so many series, and one for all others: nothing is lost
    for metric in (table.RELAYED, table.SENT, table.OVERFLOWED):
        found = [number for family in snapshot.families if family.metric is metric for number in family.numbers]
        assert (len(found), sum(number.value for number in found)) == (MOST_SERIES + 1, most)
        assert [number.value for number in found if dict(number.attributes) == {"otel.metric.overflow": "true"}] == [
            500
        ]
    [lag] = [family for family in snapshot.families if family.metric is table.LAG]
    assert sum(one.count for one in lag.distributions) == most
    assert len(lag.distributions) == MOST_SERIES + 1


def test_memory_does_not_grow_with_the_number_of_messages() -> None:
    # Given messages that are never taken, and others whose sending is never seen
    fold = MetricsFold(SEED)

    def feed(first: int, count: int) -> None:
        for number in range(first, first + count):
            sent = MessageSent("r01", number, "summary", EXCHANGE, 1, 20, 0)
            taken = MessageReceived("r02", 1, number, 0, "summary", EXCHANGE, 0, "1-1")
            fold.add(Stamped(RUN, "r00", 1, number, number, number, sent))
            fold.add(Stamped(RUN, "r03", 1, number, number, number, taken))

    # When more of them have come than are remembered, and then as many again
    tracemalloc.start()
    feed(0, 25_000)
    once, _ = tracemalloc.get_traced_memory()
    feed(25_000, 25_000)
    twice, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Then what is remembered was replaced, not added to
    assert 1_000_000 < once < 20_000_000
    assert twice < 1.1 * once
