"""The relay's core on entries alone."""

from __future__ import annotations

import gc
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.control_entries import Birth, PlanChange, Planned, encode_control
from broker.envelope import Garbage, damaged, decode
from broker.faults.fate import Plan
from broker.relay.core import Batch, Fate, OutboxEntry, PlanApplied, Relay, count_fates, plan_changed
from broker.relay.state import HELD_LIMIT, LONGEST_WAIT_US, PAIRS_LIMIT, READY_LIMIT, Throttles
from telemetry.events import FatesDecided, PlanChanged
from tests.broker.relay.entries import GARBAGE, NOTHING, RUN, control, decided, entry, frame, plan, relay_under

# Damage.


@given(st.binary(max_size=300), st.floats(0, 1, exclude_max=True))
def test_damage_is_one_bit_of_the_body_and_the_checksum_shows_it(body: bytes, draw: float) -> None:
    honest = frame(body=body)

    bent = damaged(honest, len(body), draw)

    differences = [(place, a ^ b) for place, (a, b) in enumerate(zip(honest, bent, strict=True)) if a != b]
    [(place, bits)] = differences
    assert bits.bit_count() == 1
    assert place >= len(honest) - max(1, len(body))
    assert isinstance(decode(bent), Garbage)


def test_every_bit_of_the_body_can_be_hit() -> None:
    honest = frame(body=b"ab")

    assert len({damaged(honest, 2, draw / 160) for draw in range(160)}) == 16


def test_a_corrupt_envelope_is_delivered_damaged_in_all_its_copies() -> None:
    # Given a plan that duplicates and corrupts everything
    relay = relay_under("duplicate 1 x3", "corrupt 1", "delay 10ms")
    # When an envelope is offered
    relay.offer(entry(1000))
    # Then its fate says so, and all its copies carry the same damage
    assert decided(relay) == {"1000-0": ("corrupt", (10_000, 10_000, 10_000))}
    copies = relay.due(1_010_000)
    assert [copy.number for copy in copies] == [0, 1, 2]
    assert len({copy.frame for copy in copies}) == 1
    assert isinstance(decode(copies[0].frame), Garbage)


def test_a_lost_envelope_is_just_lost() -> None:
    relay = relay_under("loss 1", "corrupt 1")
    relay.offer(entry(1000))

    assert decided(relay) == {"1000-0": ("lost", ())}


# Partitions that hold.


HOLD = "partition hold r00|r01"


def test_what_a_partition_holds_has_no_fate_and_is_not_acked_until_it_comes_free() -> None:
    # Given an envelope under a partition that holds, and one past it
    relay = relay_under(HOLD, "delay 5ms")
    relay.offer(entry(1000, 1))
    relay.offer(entry(1001, 1, receiver="r02"))
    assert decided(relay) == {"1001-0": ("delivered", (5_000,))}
    assert (relay.unacknowledged, relay.held_messages, relay.held) == (2, 1, 1)
    # When it is offered again, nothing changes
    relay.offer(entry(1000, 1))
    assert relay.held_messages == 1
    # When a plan comes that still holds it, nothing changes either
    relay.offer(control(1400, plan("partition hold r01")))
    relay.offer(control(1500, plan("partition hold r00>r01")))
    assert relay.held_messages == 1
    assert decided(relay) == {}
    # When the first comes under which nothing does, it goes out as if sent then
    relay.offer(control(1700, plan("loss 1")))
    relay.offer(control(1800, NOTHING))
    assert decided(relay) == {"1000-0": ("delivered", (705_000,))}
    assert relay.held_messages == 0
    [_, copy] = relay.due(1_705_000)
    assert (copy.entry, copy.due_us) == ("1000-0", 1_705_000)


def test_a_held_envelope_that_is_lost_is_lost_at_once() -> None:
    relay = relay_under(HOLD, "loss 1")
    relay.offer(entry(1000))

    assert decided(relay) == {"1000-0": ("lost", ())}


def test_what_was_held_comes_in_a_burst_in_the_outboxs_order() -> None:
    relay = relay_under("partition hold r00|r01,r02")
    for number in range(10):
        relay.offer(entry(1000 + number, number + 1, receiver=f"r{number % 2 + 1:02d}"))

    relay.offer(control(3000, NOTHING))

    assert [copy.entry for copy in relay.due(3_000_000)] == [f"{1000 + number}-0" for number in range(10)]


@pytest.mark.parametrize("is_copied", [True, False], ids=["known", "pending"])
def test_a_relay_that_takes_over_frees_what_was_held_as_the_first_one_would(is_copied: bool) -> None:
    # Given a relay that saw a partition come, an envelope, another plan that holds it, and the heal
    outbox = [
        control(1000, plan(HOLD, "duplicate 1", "delay 1ms..9ms")),
        entry(1100),
        control(1200, plan(HOLD, "loss 1")),
        control(1300, plan("loss 1")),
        control(1400, NOTHING),
    ]
    first = Relay(RUN, 1)
    for each in outbox:
        first.offer(each)
    # When another takes over, with the heal copied already or still pending
    second = Relay(RUN, 1)
    for number, change in ((1000, plan(HOLD, "duplicate 1", "delay 1ms..9ms")), (1200, plan(HOLD, "loss 1"))):
        second.remember(f"{number}-0", change)
    if is_copied:
        second.remember("1300-0", plan("loss 1"))
        second.remember("1400-0", NOTHING)
    for each in outbox[1:]:
        second.offer(each)
    # Then it decides the same
    fates = decided(first)
    assert decided(second) == fates
    assert all(201_000 <= delay_us < 209_000 for delay_us in fates["1100-0"][1])


def test_a_plan_learnt_late_frees_nothing_that_stands_after_it() -> None:
    relay = relay_under(HOLD)
    relay.offer(entry(1000))
    relay.offer(entry(3000))

    relay.remember("2000-0", NOTHING)

    assert decided(relay) == {"1000-0": ("delivered", (1_000_000,))}
    assert (relay.held_messages, relay.unacknowledged) == (1, 2)


def test_a_heal_that_never_comes_leaves_the_entry_pending() -> None:
    relay = relay_under(HOLD)
    relay.offer(entry(1000))
    relay.offer(entry(1001, sender="r02"))

    for copy in relay.due(1 << 60):
        relay.confirm(copy.entry)
    relay.confirm(*(fate.entry for fate in relay.fates()))

    assert relay.may_ack() == ["1001-0"]
    assert relay.unacknowledged == relay.held_messages == 1


# Throttles.


def test_a_throttle_lets_each_pair_pass_so_many_a_second() -> None:
    # Given 50 a second, and all copies doubled, the second one later
    relay = relay_under("duplicate 1", "delay 1ms..100ms", "throttle 50/s")
    free = relay_under("duplicate 1", "delay 1ms..100ms")
    # When a pair sends ten at once, and another pair one
    for number in range(1, 11):
        for one in (relay, free):
            one.offer(entry(1000, number, place=number))
    for one in (relay, free):
        one.offer(entry(1000, receiver="r02", place=11))
    # Then the first copies of that pair leave 20 ms apart or more, each copy later by the same time as its first one
    throttled, unharmed = decided(relay), decided(free)
    departures = [throttled[f"1000-{number}"][1][0] for number in range(1, 11)]
    assert all(later - earlier >= 20_000 for earlier, later in pairwise(departures))
    for number in range(1, 11):
        (first, second), (first_free, second_free) = throttled[f"1000-{number}"][1], unharmed[f"1000-{number}"][1]
        assert first - first_free == second - second_free >= 0
    # And the other pair is not slowed
    assert throttled["1000-11"] == unharmed["1000-11"]


def test_no_envelope_waits_for_a_throttle_longer_than_its_bound() -> None:
    # Given a throttle that would let ten envelopes pass in ten seconds
    relay = relay_under("throttle 1/s")
    # When they all come at once
    for number in range(1, 11):
        relay.offer(entry(1000, number, place=number))
    # Then those pass together that would have to wait longer than the bound
    waits = [deliveries[0] for _, deliveries in decided(relay).values()]
    assert waits == [min(number * 1_000_000, LONGEST_WAIT_US) for number in range(10)]
    # And none waits longer for several throttles than for one
    relay = relay_under("throttle 0.01/s", "throttle 0.02/s")
    for number in range(1, 11):
        relay.offer(entry(1000, number, place=number))
    assert {deliveries[0] for _, deliveries in decided(relay).values()} == {0, LONGEST_WAIT_US}


def test_throttles_remember_a_bounded_number_of_pairs() -> None:
    # Given as many throttled pairs as are remembered, each free a little later than the one before
    throttles, hour_us = Throttles(), 3_600_000_000
    for number in range(PAIRS_LIMIT):
        throttles.slow(((0, hour_us),), f"r{number}", "r00", number, (0,))
    # When one more comes
    throttles.slow(((0, hour_us),), "r99999", "r00", PAIRS_LIMIT, (0,))
    # Then those are forgotten that would be free soonest
    assert len(throttles) <= PAIRS_LIMIT
    assert throttles.slow(((0, hour_us),), f"r{PAIRS_LIMIT - 1}", "r00", PAIRS_LIMIT, (0,)) > ((0,), ())
    assert throttles.slow(((0, hour_us),), "r0", "r00", PAIRS_LIMIT, (0,)) == ((0,), ())


def test_throttles_forget_free_pairs_first() -> None:
    throttles = Throttles()
    throttles.slow(((0, 3_600_000_000),), "r00", "r01", 0, (0,))
    for number in range(PAIRS_LIMIT):
        throttles.slow(((0, 1),), f"r{number}", "r02", number, (0,))

    assert len(throttles) <= 2
    assert throttles.slow(((0, 1),), "r00", "r01", PAIRS_LIMIT, (0,)) > ((0,), ())


# What is reported.


def test_a_plan_change_is_reported_with_what_it_ends_once() -> None:
    # Given a relay that remembers a plan
    relay = relay_under("loss 0.5")
    assert relay.changes() == []
    # When that one and another are offered
    request = PlanChange((Planned(7, "delay 5ms"),), "17-0", "set delay 5ms")
    relay.offer(control(1, plan("loss 0.5")))
    relay.offer(control(2, request))
    # Then the other is reported, with the old one
    [applied] = relay.changes()
    assert applied == PlanApplied(plan("loss 0.5"), request)
    assert plan_changed(3, applied) == PlanChanged(3, ("loss 0.5",), ("delay 5ms",), "set delay 5ms")
    assert relay.changes() == []


def test_fates_are_counted_by_what_became_of_the_envelopes() -> None:
    fates = [
        Fate(f"1-{number}", "r00", 1, "r01", 1, b"", "update", state, deliveries, (), 0, 0)
        for number, (state, deliveries) in enumerate(
            [
                ("lost", ()),
                ("delivered", (0,)),
                ("delivered", (0, 7)),
                ("corrupt", (5, 5, 5)),
                ("stale", ()),
                ("refused", ()),
            ]
        )
    ]

    decided_now = count_fates(2, fates, Batch(3, 2, (7, 1)), 9_500)

    assert decided_now == FatesDecided(
        *(2, 6),
        lost=1,
        duplicated=2,
        delayed=2,
        corrupted=1,
        stale=1,
        refused=1,
        copies=6,
        kept=3,
        freed=2,
        lag_us=2_500,
    )


def test_what_a_partition_keeps_and_a_plan_frees_is_counted_with_the_age_of_what_was_offered_alone() -> None:
    # Given two envelopes that a partition keeps, and one that it does not
    relay = relay_under("partition hold r00|r01")
    for number in (1, 2):
        relay.offer(entry(1000 + number, number))
    relay.offer(entry(1000, 1, receiver="r02", place=5))
    # When they were offered, then they are counted once
    assert relay.batch() == Batch(kept=2, freed=0, oldest=(1000, 5))
    assert relay.batch() == Batch(kept=0, freed=0, oldest=None)
    # And when a plan frees them, then the old ones do not make the batch old
    relay.fates()
    relay.offer(control(2000, NOTHING))
    assert (relay.batch(), len(relay.fates())) == (Batch(kept=0, freed=2, oldest=None), 2)


def test_the_lag_is_the_age_of_the_oldest_envelope_whatever_else_the_batch_holds() -> None:
    # Given a relay that starts after `go`: its first batch begins with the plan and a birth, and holds garbage
    relay = Relay(RUN, 1)
    relay.offer(OutboxEntry("0-1", control=encode_control(plan("loss 0"))))
    relay.offer(control(900, Birth("r00", 1, "nonce")))
    relay.offer(OutboxEntry("950-0", b"garbage"))
    for ms in (1001, 1000):
        relay.offer(entry(ms))
    # When it is decided / Then only the envelopes are that old
    assert count_fates(0, relay.fates(), relay.batch(), 1_007_000).lag_us == 7_000


def test_an_envelope_whose_id_is_no_time_has_no_age() -> None:
    # Given envelopes that somebody wrote under ids of his own
    relay = relay_under()
    relay.offer(entry(0, place=7))
    # When they are decided / Then they have no age, and do not hide that of another one
    assert count_fates(0, relay.fates(), relay.batch(), 1_007_000).lag_us == 0
    relay.offer(entry(0, place=8))
    relay.offer(entry(1000))
    assert count_fates(0, relay.fates(), relay.batch(), 1_007_000).lag_us == 7_000


def test_a_fate_names_the_faults_that_changed_something_and_no_other() -> None:
    def named(*faults: str) -> list[tuple[str, tuple[int, ...]]]:
        relay = relay_under(*faults)
        for number in range(1, 30):
            relay.offer(entry(1000, number, place=number))
        relay.offer(control(3000, NOTHING))
        return [(fate.state, fate.faults) for fate in relay.fates()]

    # Given faults that always act, may act, and do not concern the envelope
    assert set(named("loss 1 r05", "delay 0", "corrupt 1", "delay 5ms")) == {("corrupt", (3, 2))}
    assert set(named("loss 0.5", "delay 5ms")) == {("lost", (0,)), ("delivered", (1,))}
    assert set(named("duplicate 0.5", "reorder 0")) == {("delivered", ()), ("delivered", (0,))}
    # And partitions: of those that lose, the first; and all that hold
    assert set(named("delay 5ms", "partition r00|r01", "partition r01")) == {("lost", (1,))}
    assert set(named("delay 5ms", "partition hold r00|r01", "partition hold r01")) == {("delivered", (1, 2, 0))}
    # And a throttle, when the envelope had to wait for it
    assert named("throttle 1/s", "delay 5ms")[:2] == [("delivered", (1,)), ("delivered", (1, 0))]


# Garbage.


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_is_refused_recorded_acked_and_changes_nothing(garbage: tuple[bytes | None, bytes | None]) -> None:
    relay = relay_under("burst-loss 0.5 3", "corrupt 1 r01")

    relay.offer(OutboxEntry("1000-0", *garbage))

    [fate] = relay.fates()
    assert (fate.state, fate.sender, fate.deliveries) == ("refused", None, ())
    assert fate.wire == len(garbage[0] or garbage[1] or b"")
    assert count_fates(0, [fate], relay.batch(), 0).refused == 1
    relay.confirm("1000-0")
    assert relay.may_ack() == ["1000-0"]
    assert relay.due(1 << 62) == relay.changes() == relay.notes() == []


# Control entries that come too late.


def test_a_control_entry_that_comes_after_later_ones_is_refused_and_changes_nothing() -> None:
    # Given a relay that has read a plan and a birth
    relay = relay_under("delay 1ms")
    relay.offer(control(1000, plan("delay 2ms")))
    relay.offer(control(1100, Birth("r00", 2, "nonce")))
    # When another plan and another birth turn up that stand before them
    relay.offer(control(500, plan("loss 1")))
    relay.offer(control(600, Birth("r00", 3, "nonce")))
    # Then they are refused, and never copied, and no fate depends on them
    assert [note.entry for note in relay.notes()] == ["1000-0", "1100-0"]
    relay.offer(entry(700))
    relay.offer(entry(1200, incarnation=2))
    refused = ("refused", ())
    fates = {"500-0": refused, "600-0": refused, "700-0": ("delivered", (1_000,)), "1200-0": ("delivered", (2_000,))}
    assert decided(relay) == fates
    assert [applied.change for applied in relay.changes()] == [plan("delay 2ms")]


def test_what_no_relay_read_in_order_is_too_late_unless_it_is_known() -> None:
    relay = relay_under("delay 1ms")
    relay.offer_late(control(1, plan("delay 1ms")))
    relay.offer_late(control(500, plan("loss 1")))
    relay.offer_late(control(500, plan("loss 1")))
    relay.offer_late(entry(600))

    assert [note.entry for note in relay.notes()] == ["1-0"]
    assert decided(relay) == {"500-0": ("refused", ()), "600-0": ("delivered", (1_000,))}


@pytest.mark.parametrize("garbage", [None, plan("gremlins 0.2"), plan("delay 9ms")], ids=["none", "unknown", "other"])
def test_garbage_among_what_was_copied_has_no_effect_but_bars_what_stands_before_it(garbage: PlanChange | None) -> None:
    # Given a control stream with an entry that was put there by hand
    relay = relay_under("delay 1ms")
    relay.remember("1000-0", garbage)
    # When a plan comes that should have been copied to that place, or before it
    relay.offer(control(1000, plan("delay 2ms")))
    relay.offer(control(900, plan("delay 2ms")))
    # Then it is refused, and the next one is not
    relay.offer(entry(950))
    relay.offer(control(1001, plan("delay 3ms")))
    relay.offer(entry(1002))
    assert decided(relay) == {
        "1000-0": ("refused", ()),
        "900-0": ("refused", ()),
        "950-0": ("delivered", (1_000,)),
        "1002-0": ("delivered", (3_000,)),
    }
    assert [note.entry for note in relay.notes()] == ["1001-0"]


# Bounds.


def plans_in_memory() -> int:
    gc.collect()
    return sum(isinstance(each, Plan) for each in gc.get_objects())


def test_a_relay_remembers_all_changes_but_keeps_few_plans_ready() -> None:
    # Given a relay that read a thousand plans
    before = plans_in_memory()
    relay = Relay(RUN, 1)
    for number in range(1, 1001):
        relay.remember(f"{number}-0", PlanChange((Planned(number, f"delay {number}ms r01"),)))
    # Then it keeps only some of them ready
    assert plans_in_memory() - before <= READY_LIMIT + 1
    # And still knows which one ruled when
    for number in (1, 500, 1000):
        relay.offer(entry(number, place=1))
    assert decided(relay) == {f"{number}-1": ("delivered", (number * 1000,)) for number in (1, 500, 1000)}


def test_a_plan_that_comes_again_and_again_is_read_once() -> None:
    # Given a relay that remembers plans which only differ in their requests
    relay = Relay(RUN, 1)
    before = plans_in_memory()
    for number in range(1, 1001):
        change = plan("delay 1ms") if number % 2 else NOTHING
        relay.remember(f"{number}-0", PlanChange(change.faults, request_id=f"{number}-0", request="set delay 1ms"))

    assert plans_in_memory() - before == 1
    # Then each is reported as it is
    relay.offer(control(2000, NOTHING))
    [applied] = relay.changes()
    assert (applied.old.request_id, applied.change) == ("1000-0", NOTHING)


def test_a_hundred_thousand_held_copies_stay_bounded_and_end_the_reading_until_they_are_due() -> None:
    # Given a plan that holds everything back for a minute
    relay = relay_under("delay 60s")
    # When envelopes of 600 bytes are offered, their fates recorded, and their copies held
    tracemalloc.start()
    try:
        for number in range(HELD_LIMIT // 10):
            relay.offer(entry(1_000, number + 1, body=bytes(550), place=number))
            relay.confirm(*(fate.entry for fate in relay.fates()))
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Then as many as may be held would stay bounded in memory
    assert relay.held == HELD_LIMIT // 10
    assert 10 * held_bytes < 200 << 20
    # And with that many the relay has its fill, until the first ones are gone
    relay.offer(control(2_000, plan("duplicate 1 x10", "delay 60s")))
    number = 0
    while not relay.is_full:
        number += 1
        relay.offer(entry(3_000, number, place=number))
    assert relay.held == HELD_LIMIT
    assert len(relay.due(61_000_000)) == HELD_LIMIT // 10
    assert not relay.is_full


def test_a_few_big_frames_are_enough() -> None:
    relay = relay_under("delay 1s", "duplicate 1 x10")
    big = frame(body=bytes(72 * 1024))
    for number in range(400):
        relay.offer(OutboxEntry(f"1000-{number}", big))

    assert relay.held == 4000
    assert relay.is_full
    relay.due(1 << 60)
    assert not relay.is_full


def test_what_partitions_hold_does_not_end_the_reading() -> None:
    relay = relay_under(HOLD)
    big = frame(body=bytes(72 * 1024))
    for number in range(4000):
        relay.offer(OutboxEntry(f"1000-{number}", big))

    assert relay.held_messages == 4000
    assert not relay.is_full
