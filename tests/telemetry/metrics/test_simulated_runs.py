"""The metrics of simulated runs against their evidence: what relays recorded, and what journals hold."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from broker.relay.core import Fate
from robots.journal import PartKept, decode_entry
from telemetry.events import ExchangeEnded
from telemetry.metrics import table
from telemetry.metrics.fold import MetricsFold
from telemetry.metrics.table import Metric
from telemetry.metrics.values import MetricsSnapshot
from telemetry.record.reader import RecordReader
from telemetry.tracing.exchanges import traces_of
from tests.robots.simulation.judged_runs import Ended, parts_learnt, run
from tests.telemetry.metrics.story import distributions, folded, numbers

STORM = ("loss .3", "duplicate .2 x3", "delay 5ms..20ms", "reorder .2", "corrupt .1")
PLANS = [
    pytest.param(STORM, id="storm"),
    pytest.param(("loss .2", "partition hold r00..r02|r03..r05 @300ms+1s"), id="held"),
    pytest.param(("throttle 20/s", "partition r00 @200ms+500ms"), id="throttled and cut"),
]


def total(snapshot: MetricsSnapshot, metric: Metric) -> int:
    return sum(numbers(snapshot, metric).values())


def observed(snapshot: MetricsSnapshot, metric: Metric) -> int:
    return sum(distribution.count for distribution in distributions(snapshot, metric).values())


def fates_of(ended: Ended) -> list[Fate]:
    return [fate for stored in ended.simulated.evidence.fates.values() for entry in stored for fate in entry.fates]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("plan", PLANS)
def test_totals_equal_the_counts_of_the_evidence(tmp_path: Path, plan: tuple[str, ...], seed: int) -> None:
    # Given a simulated run
    ended = run(tmp_path, *plan, robots=6, seed=seed, for_="3s", relays=2)
    snapshot = folded(ended.simulated.events)
    fates, evidence = fates_of(ended), ended.simulated.evidence

    # Then the relays' metrics are the recorded fates
    states = Counter("lost" if fate.state == "delivered" and not fate.deliveries else fate.state for fate in fates)
    relayed: Counter[str] = Counter()
    for (_, fate), count in numbers(snapshot, table.RELAYED).items():
        relayed[fate] += count
    assert relayed == states
    assert {relay for relay, _ in numbers(snapshot, table.RELAYED)} == {"relay:0", "relay:1"}
    assert total(snapshot, table.COPIES) == sum(len(fate.deliveries) for fate in fates)
    assert total(snapshot, table.DUPLICATED) == sum(len(fate.deliveries) > 1 for fate in fates)

    # And what robots sent is what came to the outboxes, by kind
    sent: Counter[str] = Counter()
    for (kind, _, error), count in numbers(snapshot, table.SENT).items():
        assert error == ""
        sent[kind] += count
    assert sent == Counter(fate.kind for fate in fates)

    # And each copy that a robot took and understood has a transit
    consumed = numbers(snapshot, table.CONSUMED)
    understood = sum(count for (_, _, error, repeated), count in consumed.items() if not error and not repeated)
    refused = sum(count for (_, _, error, _), count in consumed.items() if error)
    assert observed(snapshot, table.TRANSIT) == understood
    assert sum(consumed.values()) == sum(count.added - count.length for count in evidence.inboxes.values())
    assert refused <= sum(len(fate.deliveries) for fate in fates if fate.state == "corrupt")

    # And an exchange that is over took as many attempts as it has summaries
    over = {event.exchange for event in ended.happened(ExchangeEnded)}
    summaries = [fate for fate in fates if fate.kind == "summary" and (fate.exchange or b"").hex() in over]
    assert observed(snapshot, table.EXCHANGE) == len(over)
    assert total(snapshot, table.ATTEMPTS) == len(summaries)

    # And what was learnt stands in the journals
    entries = [decode_entry(row.content) for rows in evidence.journals.values() for row in rows or ()]
    learnt = sum(isinstance(entry, PartKept) and entry.cause is not None for entry in entries)
    assert (total(snapshot, table.MERGED), total(snapshot, table.MISSED)) == (learnt, 0)


def test_lives_and_restarts_are_counted_under_kills_and_crashes(tmp_path: Path) -> None:
    ended = run(tmp_path, seed=3, for_="4s", chaos=("kill robot every 500ms", "crash r03/secret_merger @2200ms"))
    snapshot, evidence = folded(ended.simulated.events), ended.simulated.evidence

    # Then there are as many births as lives in the journals, and the gauge shows the last of them
    lives = {robot: max(row.incarnation for row in rows or ()) for robot, rows in evidence.journals.items()}
    assert {robot: count for (robot,), count in numbers(snapshot, table.BIRTHS).items()} == lives
    assert {robot: count for (robot,), count in numbers(snapshot, table.INCARNATION).items()} == lives
    assert sum(lives.values()) > len(lives)
    assert numbers(snapshot, table.RESTARTS) == {("r03", "secret_merger"): 1}
    # And at the end all know all
    parts = len(set(parts_learnt(ended, "r00")))
    assert set(numbers(snapshot, table.PARTS).values()) == {parts}
    assert set(numbers(snapshot, table.COMPLETE).values()) == {1}


def test_every_exemplar_leads_to_the_root_of_an_exchanges_trace(tmp_path: Path) -> None:
    # Given a recorded run, and the traces that are derived from it
    ended = run(tmp_path, *STORM, robots=6, seed=2, for_="3s")
    history = RecordReader(tmp_path / "latest").history()
    roots = {(trace.spans[0].trace, trace.spans[0].span): trace.spans[0] for trace in traces_of(history)}
    # When its events are folded with its seed
    fold = MetricsFold(history.settings.seed)
    for stamped in ended.simulated.events:
        fold.add(stamped)
    # Then each exemplar of its exchanges has the ids of one of their roots, which took as long
    exemplars = [
        exemplar
        for distribution in distributions(fold.snapshot(), table.EXCHANGE).values()
        for exemplar in distribution.exemplars
        if exemplar is not None
    ]
    assert len(exemplars) > 3
    for exemplar in exemplars:
        root = roots[exemplar.trace, exemplar.span]
        assert (root.name, (root.end_us - root.start_us) / 1e6) == (
            "exchange",
            pytest.approx(exemplar.value, abs=0.002),
        )
