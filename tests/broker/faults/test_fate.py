"""Fates: a pure function of what an envelope is and of the plan in force."""

import random
import subprocess
import sys
from itertools import groupby
from math import exp
from statistics import median

import pytest

from broker.control_entries import PlanChange, Planned, decode_control, encode_control
from broker.faults import fate as bursts
from broker.faults import fate as plans
from broker.faults.dice import Dice
from broker.faults.fate import BLOCK, Decision, Plan, median_delay_us
from broker.faults.grammar import parse_fault, parse_lines
from broker.faults.message_faults import MESSAGE_FAULTS, BurstLoss, Corrupt
from broker.faults.shaping_faults import Delay, Duplicate, LognormalDelay, Loss, Reorder
from tests.support.plan_change import plan_change

LOSSY = [Loss(0.2), Duplicate(0.1), Delay(5_000, 20_000), Reorder(0.1)]


def plan_of(*texts: str) -> Plan:
    """The plan of these faults, numbered from 0."""
    return Plan(PlanChange(tuple(Planned(number, text) for number, text in enumerate(texts))))


def decisions(plan: Plan, seed: int = 1, count: int = 2000, incarnation: int = 1, sender="r00", receiver: str = "r01"):
    dice = Dice(seed)
    return [plan.fate(dice, sender, incarnation, receiver, sequence) for sequence in range(1, count + 1)]


def fates(plan: Plan, seed: int = 1, count: int = 2000, incarnation: int = 1, receiver: str = "r01"):
    return [fate.deliveries for fate in decisions(plan, seed, count, incarnation, receiver=receiver)]


# Pure.


def test_a_fate_is_the_same_in_any_order() -> None:
    plan, dice = Plan(plan_change(*LOSSY)), Dice(3)
    forwards = {n: plan.fate(dice, "r00", 1, "r01", n) for n in range(1, 500)}
    backwards = {n: plan.fate(Dice(3), "r00", 1, "r01", n) for n in reversed(range(1, 500))}

    assert forwards == backwards


def test_a_fate_is_the_same_in_another_process() -> None:
    program = (
        "from broker.control_entries import *; from broker.faults.dice import Dice; from broker.faults.fate import *;"
        "from broker.faults.message_faults import *;"
        "faults = Loss(.2), Duplicate(.1), Delay(5_000, 20_000), Reorder(.1);"
        "p = Plan(PlanChange(tuple(Planned(n, fault.text()) for n, fault in enumerate(faults))));"
        "print([p.fate(Dice(1), 'r00', 1, 'r01', n).deliveries for n in range(1, 201)])"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONHASHSEED": "99"}, capture_output=True, text=True, check=True
    )

    assert elsewhere.stdout.strip() == str(fates(Plan(plan_change(*LOSSY)), count=200))


@pytest.mark.parametrize("fault", [Loss(0), Duplicate(0), Reorder(0), Delay(0, 0), BurstLoss(0, 5), Corrupt(0)])
def test_probability_zero_changes_nothing(fault) -> None:
    without = Plan(PlanChange((Planned(0, "loss 0.3"),)))
    beside = Plan(PlanChange((Planned(0, "loss 0.3"), Planned(1, fault.text()))))

    assert fault.is_noop
    assert decisions(beside) == decisions(without)


def test_one_fault_never_shifts_the_dice_of_another() -> None:
    # Given a plan with loss alone, and one with every other fault beside it
    alone = fates(Plan(PlanChange((Planned(0, "loss 0.3"),))))
    beside = fates(
        Plan(PlanChange((Planned(0, "loss 0.3"), *(Planned(n + 1, f.text()) for n, f in enumerate(LOSSY[1:])))))
    )

    # Then exactly the same envelopes are lost
    assert [not fate for fate in alone] == [not fate for fate in beside]


def test_two_instances_of_a_fault_have_dice_of_their_own() -> None:
    first = fates(Plan(PlanChange((Planned(0, "loss 0.5"),))))
    second = fates(Plan(PlanChange((Planned(9, "loss 0.5"),))))

    assert first != second


def test_a_new_life_meets_new_dice() -> None:
    plan = Plan(plan_change(*LOSSY))

    assert fates(plan, incarnation=1) != fates(plan, incarnation=2)
    assert fates(plan, receiver="r01") != fates(plan, receiver="r02")
    assert fates(plan, seed=1) != fates(plan, seed=2)


def test_rates_are_what_was_set() -> None:
    count = 20_000
    lost = sum(not fate for fate in fates(Plan(plan_change(Loss(0.2))), count=count)) / count
    doubled = sum(len(fate) == 2 for fate in fates(Plan(plan_change(Duplicate(0.1))), count=count)) / count
    delays = [fate[0] for fate in fates(Plan(plan_change(Delay(5_000, 20_000))), count=count)]

    assert lost == pytest.approx(0.2, abs=0.015)
    assert doubled == pytest.approx(0.1, abs=0.012)
    assert 5_000 <= min(delays) < 5_100
    assert 19_900 < max(delays) < 20_000
    assert sum(delays) / count == pytest.approx(12_500, rel=0.02)


def test_copies_are_delayed_and_reordered_independently() -> None:
    both = fates(Plan(plan_change(Duplicate(1), Delay(0, 10_000), Reorder(0.5))))

    assert all(len(fate) == 2 for fate in both)
    assert sum(fate[0] == fate[1] for fate in both) < len(both) / 100
    assert any(second > first + 10_000 for first, second in both), "the copy alone was reordered"


# Burst loss.


def lost_by(text: str, count: int, seed: int = 1) -> list[bool]:
    return [not fate for fate in fates(plan_of(text), seed=seed, count=count)]


def folded(fault: BurstLoss, instance: int, seed: int, count: int, sender: str = "r00") -> list[bool]:
    """The states as they are defined: from the beginning, one after the other."""
    dice, states = Dice(seed), []
    r = 1 / fault.length
    p = r * fault.share / (1 - fault.share)
    for number in range(1, count + 1):
        u = dice.of(sender, 1, "r01", number).number(instance, 0, 0)
        if number % 1024 == 1:
            states.append(u < fault.share)
        else:
            states.append(u >= r if states[-1] else u < p)
    return states


@pytest.mark.parametrize("text", ["burst-loss 0.3 5", "burst-loss 0.5 3", "burst-loss 0.8 4", "burst-loss 0.1 400"])
def test_burst_loss_is_the_fold_over_all_numbers(text: str) -> None:
    fault = parse_fault(text)

    assert lost_by(text, count=3000) == folded(fault, instance=0, seed=1, count=3000)


def test_bursts_lose_the_share_that_was_set_in_bursts_of_the_length_that_was_set() -> None:
    lost = lost_by("burst-loss 0.3 5", count=60_000)
    bursts_seen = [len(list(burst)) for is_lost, burst in groupby(lost) if is_lost]

    assert sum(lost) / len(lost) == pytest.approx(0.3, abs=0.02)
    assert sum(bursts_seen) / len(bursts_seen) == pytest.approx(5, rel=0.05)


def test_a_state_is_the_same_in_any_order_with_gaps_and_after_a_change_of_plan() -> None:
    # Given the states in order
    in_order = dict(enumerate(lost_by("burst-loss 0.4 6", count=3000), start=1))

    # When the fates are decided in a shuffled order, by plans that come and go
    numbers = random.Random(5).sample(range(1, 3001), 600)
    dice, plan = Dice(1), plan_of("burst-loss 0.4 6")
    shuffled = {}
    for count, number in enumerate(numbers):
        if count % 50 == 0:
            plan = plan_of("burst-loss 0.4 6", "duplicate 0.5")
        shuffled[number] = not plan.fate(dice, "r00", 1, "r01", number).deliveries

    # Then nothing differs
    assert shuffled == {number: in_order[number] for number in numbers}


def test_a_plan_with_other_dice_remembers_nothing_of_the_first_ones() -> None:
    plan, both = plan_of("burst-loss 0.3 50"), [Dice(1), Dice(2)]
    in_order = [lost_by("burst-loss 0.3 50", seed=seed, count=1000) for seed in (1, 2)]

    for number in range(1, 1001):
        which = number % 2
        assert (not plan.fate(both[which], "r00", 1, "r01", number).deliveries) == in_order[which][number - 1]


class CountingDice(Dice):
    thrown = 0

    def of(self, *envelope):
        self.thrown += 1
        return super().of(*envelope)


@pytest.mark.parametrize("length", ["2", "1000000"])
def test_no_number_however_far_away_takes_more_than_a_block_of_dice(length: str) -> None:
    dice, plan = CountingDice(1), plan_of(f"burst-loss 0.5 {length}")

    for sequence in (1, 1 << 63, (1 << 62) + 7, 10**15 + BLOCK, 3):
        dice.thrown = 0
        plan.fate(dice, "r00", 1, "r01", sequence)
        assert 1 <= dice.thrown <= BLOCK


def test_in_order_burst_loss_throws_no_dice_but_the_envelopes_own() -> None:
    dice, plan = CountingDice(1), plan_of("burst-loss 0.5 100")

    for sequence in range(1, 501):
        plan.fate(dice, "r00", 1, "r01", sequence)

    assert dice.thrown == 500


def test_what_is_remembered_stays_bounded_and_changes_no_fate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bursts, "_MEMORY", 8)
    monkeypatch.setattr(plans, "_MOST_LINKS", 8)
    plan, dice = plan_of("burst-loss 0.5 20", "loss 0.1 r03"), Dice(1)
    names = [f"r{number:02d}" for number in range(30)]

    mixed = [plan.fate(dice, name, 1, "r50", sequence) for sequence in range(1, 60) for name in names]

    alone = {name: plan_of("burst-loss 0.5 20", "loss 0.1 r03") for name in names}
    assert mixed == [alone[name].fate(dice, name, 1, "r50", sequence) for sequence in range(1, 60) for name in names]
    assert len(plan._links) <= 8
    assert all(len(states._last) <= 8 for states in plan._bursts.values())


# The other faults.


def test_as_many_copies_arrive_as_were_set() -> None:
    some = fates(plan_of("duplicate 0.3 x5"), count=10_000)

    assert {len(fate) for fate in some} == {1, 5}
    assert sum(len(fate) == 5 for fate in some) / len(some) == pytest.approx(0.3, abs=0.02)
    assert all(len(fate) == 4 for fate in fates(plan_of("duplicate 1 x3", "duplicate 1"), count=20)), (
        "each adds its own"
    )


def test_lognormal_delay_has_its_median_and_its_sigma() -> None:
    delays = sorted(delay for (delay,) in fates(plan_of("delay 20ms~0.5"), count=20_000))

    assert median(delays) == pytest.approx(20_000, rel=0.02)
    # one sigma above the median lie 84.13 % of a normal law
    assert delays[int(0.8413 * len(delays))] == pytest.approx(20_000 * exp(0.5), rel=0.03)
    assert delays[int(0.1587 * len(delays))] == pytest.approx(20_000 / exp(0.5), rel=0.03)


def test_no_lognormal_delay_is_longer_than_a_minute() -> None:
    delays = [delay for (delay,) in fates(plan_of("delay 30s~3"), count=2000)]

    assert max(delays) == 60_000_000
    # the lowest and the highest face of a die lie 6.34 sigmas off
    assert LognormalDelay(60_000_000, 1.0)._time_us(0.0) == pytest.approx(60_000_000 / exp(6.337957), rel=1e-5)
    assert LognormalDelay(1000, 3.0)._time_us(1 - 2**-32) == 60_000_000


def test_lognormal_copies_are_delayed_on_their_own() -> None:
    both = fates(plan_of("duplicate 1", "delay 20ms~1"))

    assert all(len(fate) == 2 for fate in both)
    assert sum(fate[0] == fate[1] for fate in both) < len(both) / 100


def test_corruption_damages_at_its_rate_anywhere_in_the_body_and_delivers_as_before() -> None:
    some = decisions(plan_of("corrupt 0.25", "delay 10ms"), count=20_000)
    damages = [fate.damage for fate in some if fate.damage is not None]

    assert len(damages) / len(some) == pytest.approx(0.25, abs=0.01)
    assert 0 <= min(damages) < 0.01
    assert 0.99 < max(damages) < 1
    assert all(fate.deliveries == (10_000,) for fate in some)


def test_a_lost_envelope_is_just_lost() -> None:
    everything = plan_of("loss 0.5", "corrupt 1", "throttle 10/s", "partition hold r00|r01")
    some = decisions(everything, count=300)

    assert {fate for fate in some if not fate.deliveries} == {Decision((), faults=(0,))}
    assert {(fate.deliveries, fate.is_held, fate.throttles) for fate in some if fate.deliveries} == {
        ((0,), True, ((2, 100_000),))
    }
    assert all(fate.damage is not None for fate in some if fate.deliveries)


def test_of_two_corruptions_the_first_that_acts_does_the_damage() -> None:
    first = [fate.damage for fate in decisions(plan_of("corrupt 0.5"))]
    both = [fate.damage for fate in decisions(plan_of("corrupt 0.5", "corrupt 1"))]

    assert [after for before, after in zip(first, both, strict=True) if before is not None] == [
        before for before in first if before is not None
    ]
    assert None not in both


def test_throttles_are_handed_to_the_relay_by_instance() -> None:
    (fate,) = decisions(plan_of("throttle 3/s", "loss 0", "throttle 0.5/s r01", "throttle 9/s r07"), count=1)

    assert fate == Decision((0,), throttles=((0, 333_333), (2, 2_000_000)))


# Targets.


def test_a_partition_cuts_what_its_target_selects_and_nothing_else() -> None:
    plan, dice = plan_of("partition r00..r01|r02"), Dice(1)
    robots = ("r00", "r01", "r02", "r03")

    cut = {(a, b) for a in robots for b in robots if a != b and not plan.fate(dice, a, 1, b, 1).deliveries}

    assert cut == {("r00", "r02"), ("r01", "r02"), ("r02", "r00"), ("r02", "r01")}


def test_a_hold_partition_holds_and_a_one_way_one_only_one_way() -> None:
    plan, dice = plan_of("partition hold r00>r01", "partition r02"), Dice(1)

    assert plan.fate(dice, "r00", 1, "r01", 1) == Decision((0,), is_held=True, faults=(0,))
    assert plan.fate(dice, "r01", 1, "r00", 1) == Decision((0,))
    assert plan.fate(dice, "r00", 1, "r02", 1) == plan.fate(dice, "r02", 1, "r01", 1) == Decision((), faults=(1,))
    assert [plan.holds(*pair) for pair in (("r00", "r01"), ("r01", "r00"), ("r00", "r02"))] == [True, False, False]


def test_an_envelope_out_of_the_target_meets_the_other_faults_alone() -> None:
    # Given a plan with faults for r05, beside those for everyone
    targeted = plan_of(*(fault.text() for fault in LOSSY), "loss 1 r05", "corrupt 1 r05", "burst-loss 0.9 9 r05>r01")

    # Then others meet only the latter, whatever their names are written like
    assert decisions(targeted) == decisions(Plan(plan_change(*LOSSY)))
    assert not any(fate.deliveries for fate in decisions(targeted, sender="r005"))


def test_every_kind_acts_in_its_place_however_it_was_given() -> None:
    texts = ["partition r07", "throttle 5/s", "corrupt 0.5", "reorder 0.5", "delay 1ms..9ms", "duplicate 0.5"]
    texts += ["burst-loss 0.1 2", "loss 0.1"]
    numbered = [Planned(number, text) for number, text in enumerate(texts)]

    assert [parse_fault(text).name for text in texts] == [kind.name for kind in reversed(MESSAGE_FAULTS)]
    assert decisions(Plan(PlanChange(tuple(numbered)))) == decisions(Plan(PlanChange(tuple(reversed(numbered)))))


# The plan as data.


def test_a_plan_change_reads_back_with_its_request() -> None:
    change = PlanChange((Planned(3, "loss 0.2"),), "1700000000000-0", "set loss 0.2")

    assert decode_control(encode_control(change)) == change


def test_timers_respect_the_delays_for_everyone() -> None:
    lines = parse_lines("delay 10ms..20ms; delay 7ms~1; delay 1s r03; loss 0.5; heal @5s")

    assert median_delay_us(line.fault for line in lines) == 22_000
