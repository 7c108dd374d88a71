"""A slow run is the same run: the same robots with the same dice, whose rounds and verdicts can be compared.

Ids of a server's streams show whole milliseconds, whatever the pace, and deliveries that come within one may change
places. Without delays nothing comes so close together, and the histories are the same envelope for envelope.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from telemetry.events import AnomalyBegan
from tests.robots.simulation.judged_runs import Ended, run

SEEDS = range(5)


def fates(ended: Ended) -> list[tuple[object, ...]]:
    """What became of each envelope, in the order in which they were decided."""
    return [
        (fate.sender, fate.incarnation, fate.receiver, fate.sequence, fate.kind, fate.state, len(fate.deliveries or ()))
        for stored in ended.simulated.evidence.fates[0]
        for fate in stored.fates
    ]


def verdict(ended: Ended) -> dict[str, str]:
    return {name: promise.state for name, promise in ended.result.promises.items()}


def test_without_delays_it_is_the_same_envelope_for_envelope(tmp_path: Path) -> None:
    for seed in SEEDS:
        usual, slow = (run(tmp_path, "loss .2", "duplicate .1", seed=seed, pace=pace) for pace in (1, 10))

        assert fates(slow) == fates(usual)
        assert verdict(slow) == verdict(usual)
        assert slow.result.rounds == usual.result.rounds


@pytest.mark.parametrize("preset", ["lossy", "storm", "split"])
def test_under_every_plan_verdicts_and_rounds_are_the_same(tmp_path: Path, preset: str) -> None:
    for seed in SEEDS[:2]:
        usual, slow = (run(tmp_path, preset=preset, seed=seed, pace=pace) for pace in (1, 10))

        assert verdict(slow) == verdict(usual)
        for moment in ("first_complete", "all_complete"):
            assert getattr(slow.result.rounds, moment) == pytest.approx(getattr(usual.result.rounds, moment), abs=0.5)


def test_robots_that_die_and_workers_that_crash_are_judged_alike(tmp_path: Path) -> None:
    # Given process faults, of which the restart policy has times that no pace changes
    chaos = ("kill r03 @300ms", "crash r01/secret_merger @700ms", "kill robot every 900ms", "contradict r02 @1200ms")
    for seed in SEEDS[:2]:
        usual, slow = (run(tmp_path, "loss .2", seed=seed, for_="3s", chaos=chaos, pace=pace) for pace in (1, 10))

        assert verdict(slow) == verdict(usual)
        assert [row.target for row in slow.injections] == [row.target for row in usual.injections]


def test_what_is_usual_is_no_anomaly_in_a_run_a_hundred_times_as_slow(tmp_path: Path) -> None:
    slow = run(tmp_path, preset="lossy", seed=7, for_="2s", pace=100)

    assert slow.happened(AnomalyBegan) == []
    assert slow.result.verdict == "HELD", slow.broken()
