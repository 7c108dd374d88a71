"""Fates: a pure function of what an envelope is and of the plan in force, and the relay's mind around it."""

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.dice import Dice
from broker.durations import format_duration, parse_duration
from broker.envelope import Envelope, encode
from broker.faults import Delay, Duplicate, Loss, Reorder, parse_fault
from broker.plan import Birth, Plan, PlanChange, Planned, encode_control, first_plan
from broker.relay import OutboxEntry, Relay

P = st.floats(0, 1)
FAULTS = st.one_of(
    st.builds(Loss, P),
    st.builds(Duplicate, P),
    st.builds(Reorder, P),
    st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)).map(lambda pair: Delay(min(pair), max(pair))),
)
LOSSY = [Loss(0.2), Duplicate(0.1), Delay(5_000, 20_000), Reorder(0.1)]


def fates(plan: Plan, seed: int = 1, count: int = 2000, incarnation: int = 1, receiver: str = "r01"):
    dice = Dice(seed)
    return [plan.fate(dice, "r00", incarnation, receiver, sequence) for sequence in range(1, count)]


# Pure.


def test_a_fate_is_the_same_in_any_order() -> None:
    plan, dice = Plan(first_plan(LOSSY)), Dice(3)
    forwards = {n: plan.fate(dice, "r00", 1, "r01", n) for n in range(1, 500)}
    backwards = {n: plan.fate(Dice(3), "r00", 1, "r01", n) for n in reversed(range(1, 500))}

    assert forwards == backwards


def test_a_fate_is_the_same_in_another_process() -> None:
    program = (
        "from broker.dice import Dice; from broker.faults import *; from broker.plan import *;"
        "p = Plan(first_plan([Loss(.2), Duplicate(.1), Delay(5_000, 20_000), Reorder(.1)]));"
        "print([p.fate(Dice(1), 'r00', 1, 'r01', n) for n in range(1, 200)])"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONHASHSEED": "99"}, capture_output=True, text=True, check=True
    )

    assert elsewhere.stdout.strip() == str(fates(Plan(first_plan(LOSSY)), count=200))


@pytest.mark.parametrize("fault", [Loss(0), Duplicate(0), Reorder(0), Delay(0, 0)])
def test_probability_zero_changes_nothing(fault) -> None:
    without = Plan(PlanChange((Planned(0, "loss 0.3"),)))
    beside = Plan(PlanChange((Planned(0, "loss 0.3"), Planned(1, fault.text()))))

    assert fates(beside) == fates(without)


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
    plan = Plan(first_plan(LOSSY))

    assert fates(plan, incarnation=1) != fates(plan, incarnation=2)
    assert fates(plan, receiver="r01") != fates(plan, receiver="r02")
    assert fates(plan, seed=1) != fates(plan, seed=2)


def test_rates_are_what_was_set() -> None:
    count = 20_000
    lost = sum(not fate for fate in fates(Plan(first_plan([Loss(0.2)])), count=count)) / count
    doubled = sum(len(fate) == 2 for fate in fates(Plan(first_plan([Duplicate(0.1)])), count=count)) / count
    delays = [fate[0] for fate in fates(Plan(first_plan([Delay(5_000, 20_000)])), count=count)]

    assert lost == pytest.approx(0.2, abs=0.015)
    assert doubled == pytest.approx(0.1, abs=0.012)
    assert 5_000 <= min(delays) < 5_100
    assert 19_900 < max(delays) < 20_000
    assert sum(delays) / count == pytest.approx(12_500, rel=0.02)


def test_copies_are_delayed_and_reordered_independently() -> None:
    both = fates(Plan(first_plan([Duplicate(1), Delay(0, 10_000), Reorder(0.5)])))

    assert all(len(fate) == 2 for fate in both)
    assert sum(fate[0] == fate[1] for fate in both) < len(both) / 100
    assert any(second > first + 10_000 for first, second in both), "the copy alone was reordered"


# The text of a fault.


@given(FAULTS)
def test_a_faults_text_reads_back_as_the_fault(fault) -> None:
    assert parse_fault(fault.text()) == fault


@given(st.integers(0, 366 * 24 * 3_600_000_000))
def test_a_time_reads_back_as_it_was_printed(microseconds: int) -> None:
    assert parse_duration(format_duration(microseconds)) == microseconds


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("loss", "probability"),
        ("loss 1.5", "probability"),
        ("loss nan", "probability"),
        ("gremlin 1", "allowed are loss"),
        ("delay 5", "write a number and a unit"),
        ("delay -5ms", "write a number and a unit"),
        ("delay 20ms..5ms", "backwards"),
        ("delay 2h", "at most"),
    ],
)
def test_a_bad_fault_is_told_what_is_allowed(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_fault(text)


# The relay's mind.


def entry(
    number: int, sequence: int = 1, incarnation: int = 1, sender: str = "r00", receiver: str = "r01"
) -> OutboxEntry:
    envelope = Envelope("run", sender, incarnation, receiver, sequence, b"exchange", "update", b"body")
    return OutboxEntry((1000, number), encode(envelope))


def settle(relay: Relay, now_us: int) -> list:
    """What a driver does: stores everything, confirms everything, acks what may be acked."""
    for note in relay.notes():
        relay.confirm(note.entry)
    copies = relay.due(now_us)
    for copy in copies:
        relay.confirm(copy.entry)
    for fate in relay.fates():
        milliseconds, _, number = fate.entry.partition("-")
        relay.confirm((int(milliseconds), int(number)))
    return copies


def test_before_the_first_plan_everything_is_delivered_at_once() -> None:
    relay = Relay("run", 1)
    relay.offer(entry(1))

    (copy,) = relay.due(1_000_000)

    assert (copy.receiver, copy.number, copy.due_us) == ("r01", 0, 1_000_000)


def test_the_plan_in_force_is_the_last_one_before_the_entry_whenever_it_is_asked() -> None:
    # Given an outbox with a plan, an envelope, another plan and another envelope
    everything_lost = OutboxEntry((1000, 1), control=encode_control(first_plan([Loss(1)])))
    nothing_lost = OutboxEntry((1000, 3), control=encode_control(PlanChange(())))
    outbox = [everything_lost, entry(2, 1), nothing_lost, entry(4, 2)]

    # When one relay takes it in order, and another redoes the envelopes knowing all plans
    in_order, redoing = Relay("run", 1), Relay("run", 1)
    for each in outbox:
        in_order.offer(each)
    redoing.remember((1000, 1), first_plan([Loss(1)]))
    redoing.remember((1000, 3), PlanChange(()))
    redoing.offer(outbox[3])
    redoing.offer(outbox[1])

    # Then both decide the same
    fates_of = [{fate.entry: fate.deliveries for fate in relay.fates()} for relay in (in_order, redoing)]
    assert fates_of[0] == fates_of[1] == {"1000-2": (), "1000-4": (0,)}


def test_a_zombies_envelope_after_its_successors_birth_is_stale_and_one_before_it_is_not() -> None:
    relay = Relay("run", 1)
    relay.offer(entry(1, sequence=1, incarnation=1))
    relay.offer(OutboxEntry((1000, 2), control=encode_control(Birth("r00", 2, "nonce"))))
    relay.offer(entry(3, sequence=2, incarnation=1))
    relay.offer(entry(4, sequence=1, incarnation=2))
    relay.offer(entry(5, sequence=1, incarnation=1, sender="r05"))

    states = {fate.entry: fate.state for fate in relay.fates()}

    assert states == {"1000-1": "delivered", "1000-3": "stale", "1000-4": "delivered", "1000-5": "delivered"}
    assert [copy.entry[1] for copy in relay.due(2_000_000)] == [1, 4, 5]


def test_nothing_may_be_acked_before_every_write_of_it_is_confirmed() -> None:
    relay = Relay("run", 1)
    relay.remember((1, 0), first_plan([Duplicate(1), Delay(10_000, 10_000)]))
    relay.offer(entry(1))
    assert relay.due(1_000_000) == [], "held"
    assert relay.next_due_us() == 1_010_000
    relay.fates()

    # When fate and first copy are stored, it still may not
    first, second = relay.due(1_010_000)
    relay.confirm(first.entry)
    relay.confirm((1000, 1))
    assert relay.may_ack() == []

    # When the last copy is stored, it may, once
    relay.confirm(second.entry)
    assert relay.may_ack() == [(1000, 1)]
    assert relay.may_ack() == []
    assert relay.in_hand == 0


def test_a_lost_envelope_may_be_acked_once_its_fate_is_recorded() -> None:
    relay = Relay("run", 1)
    relay.remember((1, 0), first_plan([Loss(1)]))
    relay.offer(entry(1))

    assert settle(relay, 2_000_000) == []
    assert relay.may_ack() == [(1000, 1)]


@pytest.mark.parametrize(
    "bad",
    [
        OutboxEntry((1000, 1), b"garbage"),
        OutboxEntry((1000, 1)),
        OutboxEntry((1000, 1), control=b"garbage"),
        OutboxEntry((1000, 1), encode(Envelope("other", "r00", 1, "r01", 1, b"exchange", "update", b""))),
        OutboxEntry((1000, 1), encode(Envelope("run", "r00", 1, "relay", 1, b"exchange", "update", b""))),
    ],
)
def test_garbage_in_an_outbox_is_refused_recorded_and_acked(bad: OutboxEntry) -> None:
    relay = Relay("run", 1)
    relay.offer(bad)

    (fate,) = relay.fates()
    relay.confirm((1000, 1))

    assert fate.state == "refused"
    assert relay.due(1 << 60) == []
    assert relay.may_ack() == [(1000, 1)]


def test_copies_come_out_by_their_time_not_by_their_entry() -> None:
    relay = Relay("run", 4)
    relay.remember((1, 0), first_plan([Reorder(0.3)]))
    for number in range(1, 60):
        relay.offer(entry(number, sequence=number))

    copies = relay.due(2_000_000)
    due = [copy.due_us for copy in copies]

    assert due == sorted(due)
    assert [copy.entry for copy in copies] != sorted(copy.entry for copy in copies)
    assert Counter(copy.entry for copy in copies).most_common(1)[0][1] == 1
