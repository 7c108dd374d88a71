"""What theory expects of a run: the plan in force at each time decides it."""

from __future__ import annotations

import pytest

from telemetry.expectation import Plans, RunTerms, expected, mean_loss

RUN = RunTerms(robots=6, holders=tuple((f"r{number:02d}",) for number in range(6)), go_us=1_000_000, tick_us=100_000)
CALM: Plans = ((990_000, ()),)


def test_the_loss_is_that_of_the_plan_in_force_and_theory_goes_on_from_there() -> None:
    # Given a calm run, and one in which half of all messages are lost from half a tick on
    calm, lossy = expected(RUN, CALM, 1), expected(RUN, (*CALM, (1_050_000, ("loss 0.5",))), 1)
    # Then both are equal until then, and the second is slower afterwards
    same = round(50_000 / calm.step_us) + 1
    assert calm.shares[:same] == lossy.shares[:same]
    assert calm.shares[same] > lossy.shares[same]
    assert (calm.loss, lossy.loss) == (0.0, 0.5)
    assert calm.duration is not None
    assert lossy.duration is not None
    assert calm.duration.most < lossy.duration.most


def test_a_partition_stops_theory_at_what_each_side_was_dealt_until_it_is_over() -> None:
    # Given a run of two halves
    halves = (990_000, ("partition r00..r02|r03..r05",))
    cut, healed = expected(RUN, (halves,), 1), expected(RUN, (halves, (3_000_000, ())), 25)
    # Then each half learns its own parts, half of all,
    assert cut.duration is None
    assert cut.shares[-1] == pytest.approx(0.5, abs=0.01)
    # and all of them once they meet, after twenty ticks
    assert healed.duration is not None
    assert 20 < healed.duration.least < healed.duration.most < 23


def test_with_too_many_kinds_of_links_theory_takes_all_to_be_alike() -> None:
    faults = tuple(f"loss 0.{number + 1} r{number:02d}" for number in range(6))

    theory = expected(RUN, ((990_000, faults),), 1)

    assert theory.loss == pytest.approx(mean_loss(faults, 6))
    assert theory.duration is not None


def test_theory_is_not_reliable_with_too_much_loss() -> None:
    assert expected(RUN, ((990_000, ("loss 0.6",)),), 1).is_reliable
    assert not expected(RUN, ((990_000, ("loss 0.8",)),), 1).is_reliable


def test_the_loss_of_a_run_is_the_mean_over_its_links() -> None:
    assert mean_loss((), 6) == 0
    assert mean_loss(("loss 0.2", "corrupt 0.5"), 6) == pytest.approx(0.6)
    assert mean_loss(("partition r00..r02|r03..r05",), 6) == pytest.approx(9 / 15)
    assert mean_loss(("loss 0.4",), 500) == pytest.approx(0.4)
    assert mean_loss(("loss 0.4",), 1) == 0
