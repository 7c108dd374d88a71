"""Relay lag and fault rate off: what the relays decide, when, and how often they lose."""

from fractions import Fraction
from itertools import accumulate
from math import comb

import pytest

from telemetry.anomalies.catalogue import FAULT_RATE_OFF, RELAY_LAG
from telemetry.anomalies.fault_rates import loss_in, odds_below
from telemetry.events import RelayResumed
from tests.telemetry.anomalies.scene import TICK_US, Scene


def test_an_envelope_that_waits_two_ticks_for_its_fate_is_a_lag_until_one_waits_less_than_half_a_tick() -> None:
    scene = Scene()
    scene.decide(lag_us=2 * TICK_US)
    scene.wait(1)
    assert scene.begun(RELAY_LAG) == []
    # When one waits longer
    scene.decide(lag_us=2 * TICK_US + 1)
    scene.wait(1)
    assert [about for _, about in scene.begun(RELAY_LAG)] == ["relay:0"]
    # Then it stands until the lag is small again
    scene.decide(lag_us=TICK_US)
    scene.wait(1)
    assert scene.ended(RELAY_LAG) == []
    scene.decide(lag_us=TICK_US // 2 - 1)
    scene.wait(1)
    assert [about for _, about in scene.ended(RELAY_LAG)] == ["relay:0"]


def test_a_relay_that_decides_nothing_while_robots_send_lags_after_five_ticks() -> None:
    scene = Scene()
    scene.live(10)
    scene.live(8, is_relayed=False)

    [(began, about)] = scene.begun(RELAY_LAG)
    assert (about, 15 <= began <= 16.5) == ("relay:0", True)


def test_the_relay_of_the_other_shard_is_not_blamed() -> None:
    # Given two shards, and a relay of shard 1 that decides nothing
    scene = Scene(shards=2)
    for _ in range(10):
        scene.send("r00", "r02")
        scene.decide(shard=0)
        scene.send("r01", "r03")
        scene.wait(1)
    # Then that one lags
    assert [about for _, about in scene.begun(RELAY_LAG)] == ["relay:1"]


def test_an_envelope_that_is_read_after_its_fate_is_not_undecided() -> None:
    # Given a passive run, in which the relay's events are read before the robots'
    scene = Scene()
    for _ in range(5):
        scene.now_us += 1_000
        scene.decide()
        late = scene.events[-1]
        scene.send("r00", "r01")
        assert scene.events[-1].wall_us == late.wall_us
        scene.wait(20)

    assert scene.begun(RELAY_LAG) == []


def test_when_nothing_is_sent_a_relay_may_be_silent() -> None:
    scene = Scene()
    scene.live(5)
    scene.wait(100)

    assert scene.begun(RELAY_LAG) == []


def test_envelopes_that_a_partition_keeps_are_no_silence() -> None:
    scene = Scene()
    for _ in range(20):
        scene.send("r00", "r01")
        scene.decide(offered=0, kept=1)
        scene.wait(1)

    assert scene.begun(RELAY_LAG) == []


def fates(scene: Scene, batches: int, lost: int, **more: int) -> None:
    """Batches of ten envelopes, of each of which so many are lost."""
    for _ in range(batches):
        scene.decide(offered=10, lost=lost, **more)
        scene.wait(1)


def planned(*faults: str) -> Scene:
    scene = Scene()
    scene.plan(*faults)
    scene.decide()  # the batch in which the plan came does not count
    return scene


@pytest.mark.parametrize(("faults", "lost"), [(("loss 0.1",), 3), (("loss 0.5", "duplicate 0.1"), 2), ((), 1)])
def test_a_loss_far_from_the_plan_is_off_after_two_hundred_envelopes(faults: tuple[str, ...], lost: int) -> None:
    scene = planned(*faults)
    fates(scene, 19, lost)
    assert scene.begun(FAULT_RATE_OFF) == []
    fates(scene, 2, lost)

    assert [about for _, about in scene.begun(FAULT_RATE_OFF)] == ["relay:0"]


def test_a_rate_that_comes_back_or_another_plan_ends_it() -> None:
    # Given a rate that is off
    scene = planned("loss 0.1")
    fates(scene, 25, 4)
    assert len(scene.begun(FAULT_RATE_OFF)) == 1
    # When it is right again, for longer than the window
    fates(scene, 45, 1)
    # Then it is over
    assert len(scene.ended(FAULT_RATE_OFF)) == 1
    # and likewise, at once, when the plan changes
    fates(scene, 40, 5)
    assert len(scene.begun(FAULT_RATE_OFF)) == 2
    scene.plan("loss 0.5")
    scene.wait(1)
    assert len(scene.ended(FAULT_RATE_OFF)) == 2


def test_a_loss_that_is_as_planned_is_not_off() -> None:
    scene = planned("loss 0.2", "duplicate 0.1", "delay 5ms..20ms")
    fates(scene, 100, 2)

    assert scene.begun(FAULT_RATE_OFF) == []


def test_envelopes_that_are_kept_count_when_they_come_and_not_when_they_are_freed() -> None:
    # Given a hold, under which half of what is not lost is kept, and freed later in one burst
    scene = planned("loss 0.2", "partition hold r00..r01|r02..r03")
    for _ in range(50):
        scene.decide(offered=6, lost=2, kept=4)
        scene.wait(1)
    scene.decide(offered=200, freed=200)
    scene.wait(1)
    scene.decide(offered=200, freed=200)
    scene.wait(1)

    assert scene.begun(FAULT_RATE_OFF) == []


def test_the_batch_in_which_a_plan_came_does_not_count() -> None:
    scene = Scene()
    scene.plan()
    scene.decide(offered=250, lost=50)  # most of it under the plan before
    scene.wait(2)
    fates(scene, 25, 0)

    assert scene.begun(FAULT_RATE_OFF) == []


def test_envelopes_of_older_lives_and_garbage_are_no_part_of_the_rate() -> None:
    scene = planned("loss 0.5")
    for _ in range(30):
        scene.decide(offered=40, lost=5, stale=20, refused=10)
        scene.wait(1)

    assert scene.begun(FAULT_RATE_OFF) == []


def test_what_a_relay_decides_again_after_a_takeover_does_not_count() -> None:
    # Given a relay that was killed while a partition kept three hundred envelopes
    scene = planned("loss 0.2", "partition hold r00..r01|r02..r03")
    fates(scene, 10, 2)
    scene.emit("relay:0", RelayResumed(0, 300), incarnation=2)
    # When its successor keeps them again, none of which can be lost
    scene.decide(offered=0, kept=150)
    scene.decide(offered=0, kept=150)
    fates(scene, 25, 2)
    # Then the rate is as planned
    assert scene.begun(FAULT_RATE_OFF) == []


@pytest.mark.parametrize(
    ("faults", "loss"),
    [
        ((), 0.0),
        (("duplicate 0.1", "delay 20ms"), 0.0),
        (("loss 0.25", "partition hold r00|r01"), 0.25),
        (("loss 0.25", "loss 0.9 r03"), None),
        (("loss 0.9 r03",), None),
        (("burst-loss 0.3 5",), None),
        (("partition r00|r01",), None),
    ],
)
def test_only_one_loss_for_all_is_a_probability(faults: tuple[str, ...], loss: float | None) -> None:
    assert loss_in(faults) == loss


@pytest.mark.parametrize(("envelopes", "loss"), [(200, 0.2), (400, 0.1), (250, 0.5), (200, 0.01), (300, 0.99)])
@pytest.mark.parametrize("limit", [1e-6, 1e-3])
def test_the_odds_are_those_of_the_binomial_distribution(envelopes: int, loss: float, limit: float) -> None:
    # Given the probability of each number, in exact arithmetic
    chance = Fraction(str(loss))
    exact = [comb(envelopes, lost) * chance**lost * (1 - chance) ** (envelopes - lost) for lost in range(envelopes + 1)]
    below, above = list(accumulate(exact)), list(accumulate(reversed(exact)))[::-1]
    # Then both tails are found to the number
    for lost in range(envelopes + 1):
        is_below = 2 * min(below[lost], above[lost]) < Fraction(str(limit))
        assert odds_below(limit, lost, envelopes, loss) == is_below, lost
