"""The relay's mind on entries alone, and the memory relay through many deaths."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.control_entries import Birth, PlanChange, Planned, encode_control
from broker.envelope import MAX_FRAME, Envelope, Garbage, damaged, decode, encode
from broker.faults.fate import Plan
from broker.memory.relay import MemoryRelay
from broker.memory.run_control import MemoryDesk
from broker.memory.server import MemoryServer
from broker.ports.run import Dealing
from broker.relay.core import Copy, Fate, OutboxEntry, PlanMet, Relay, count_fates, parse_id, plan_changed
from broker.relay.state import HELD_LIMIT, LONGEST_WAIT_US, PAIRS_LIMIT, READY_LIMIT, Throttles
from telemetry.events import AnyEvent, FatesDecided, PlanChanged, RelayCongested

RUN = "run"
NOTHING = PlanChange(())


def plan(*faults: str) -> PlanChange:
    return PlanChange(tuple(Planned(number, text) for number, text in enumerate(faults)))


def frame(sequence: int = 1, sender: str = "r00", receiver: str = "r01", incarnation: int = 1, **rest) -> bytes:
    fields = {"run": RUN, "exchange": b"exchange", "kind": "update", "body": b"body"} | rest
    return encode(Envelope(sender=sender, incarnation=incarnation, receiver=receiver, sequence=sequence, **fields))


def entry(ms: int, *args, place: int = 0, trace: bytes | None = None, **kwargs) -> OutboxEntry:
    return OutboxEntry(f"{ms}-{place}", frame(*args, **kwargs), trace=trace)


def control(ms: int, what: PlanChange | Birth) -> OutboxEntry:
    return OutboxEntry(f"{ms}-0", control=encode_control(what))


def relay_under(*faults: str, seed: int = 1) -> Relay:
    relay = Relay(RUN, seed)
    relay.remember("1-0", plan(*faults))
    return relay


def decided(relay: Relay) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {fate.entry: (fate.state, fate.deliveries) for fate in relay.fates()}


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

    assert decided(relay) == {"1000-0": ("delivered", ())}


# Partitions that hold.

HOLD = "partition hold r00|r01"


def test_what_a_partition_holds_has_no_fate_and_is_not_acked_until_it_comes_free() -> None:
    # Given an envelope under a partition that holds, and one past it
    relay = relay_under(HOLD, "delay 5ms")
    relay.offer(entry(1000, 1))
    relay.offer(entry(1001, 1, receiver="r02"))
    assert decided(relay) == {"1001-0": ("delivered", (5_000,))}
    assert (relay.in_hand, relay.detained, relay.held) == (2, 1, 1)
    # When it is offered again, nothing changes
    relay.offer(entry(1000, 1))
    assert relay.detained == 1
    # When a plan comes that still holds it, nothing changes either
    relay.offer(control(1400, plan("partition hold r01")))
    relay.offer(control(1500, plan("partition hold r00>r01")))
    assert relay.detained == 1
    assert decided(relay) == {}
    # When the first comes under which nothing does, it goes out as if sent then
    relay.offer(control(1700, plan("loss 1")))
    relay.offer(control(1800, NOTHING))
    assert decided(relay) == {"1000-0": ("delivered", (705_000,))}
    assert relay.detained == 0
    [_, copy] = relay.due(1_705_000)
    assert (copy.entry, copy.due_us) == ("1000-0", 1_705_000)


def test_a_held_envelope_that_is_lost_is_lost_at_once() -> None:
    relay = relay_under(HOLD, "loss 1")
    relay.offer(entry(1000))

    assert decided(relay) == {"1000-0": ("delivered", ())}


def test_what_was_held_comes_in_a_burst_in_the_outboxs_order() -> None:
    relay = relay_under("partition hold r00|r01,r02")
    for number in range(10):
        relay.offer(entry(1000 + number, number + 1, receiver=f"r{number % 2 + 1:02d}"))

    relay.offer(control(3000, NOTHING))

    assert [copy.entry for copy in relay.due(3_000_000)] == [f"{1000 + number}-0" for number in range(10)]


@pytest.mark.parametrize("is_copied", [True, False], ids=["known", "pending"])
def test_whoever_takes_over_frees_what_was_held_as_the_first_one_would(is_copied: bool) -> None:
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
    assert (relay.detained, relay.in_hand) == (1, 2)


def test_a_heal_that_never_comes_leaves_the_entry_pending() -> None:
    relay = relay_under(HOLD)
    relay.offer(entry(1000))
    relay.offer(entry(1001, sender="r02"))

    for copy in relay.due(1 << 60):
        relay.confirm(copy.entry)
    relay.confirm(*(fate.entry for fate in relay.fates()))

    assert relay.may_ack() == ["1001-0"]
    assert relay.in_hand == relay.detained == 1


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


def test_nobody_waits_for_a_throttle_longer_than_its_bound() -> None:
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
    assert throttles.slow(((0, hour_us),), f"r{PAIRS_LIMIT - 1}", "r00", PAIRS_LIMIT, (0,)) > (0,)
    assert throttles.slow(((0, hour_us),), "r0", "r00", PAIRS_LIMIT, (0,)) == (0,)


def test_throttles_forget_first_whoever_is_free() -> None:
    throttles = Throttles()
    throttles.slow(((0, 3_600_000_000),), "r00", "r01", 0, (0,))
    for number in range(PAIRS_LIMIT):
        throttles.slow(((0, 1),), f"r{number}", "r02", number, (0,))

    assert len(throttles) <= 2
    assert throttles.slow(((0, 1),), "r00", "r01", PAIRS_LIMIT, (0,)) > (0,)


# What goes along, and what is told.


def test_a_trace_goes_with_every_copy_and_one_that_is_too_long_does_not() -> None:
    relay = relay_under("duplicate 1")
    relay.offer(entry(1000, 1, trace=b"x" * 64))
    relay.offer(entry(1001, 2, trace=b"x" * 65))

    assert [copy.trace for copy in relay.due(2_000_000)] == [b"x" * 64, b"x" * 64, None, None]


def test_a_plan_change_is_told_with_what_it_ends_once() -> None:
    # Given a relay that remembers a plan
    relay = relay_under("loss 0.5")
    assert relay.changes() == []
    # When that one and another are offered
    request = PlanChange((Planned(7, "delay 5ms"),), "17-0", "set delay 5ms")
    relay.offer(control(1, plan("loss 0.5")))
    relay.offer(control(2, request))
    # Then the other is told, with the old one
    [met] = relay.changes()
    assert met == PlanMet(plan("loss 0.5"), request)
    assert plan_changed(3, met) == PlanChanged(3, ("loss 0.5",), ("delay 5ms",), "set delay 5ms")
    assert relay.changes() == []


def test_fates_are_counted_by_what_became_of_the_envelopes() -> None:
    fates = [
        Fate(f"1-{number}", "r00", 1, "r01", 1, b"", "update", state, deliveries, 0, 0)
        for number, (state, deliveries) in enumerate(
            [
                ("delivered", ()),
                ("delivered", (0,)),
                ("delivered", (0, 7)),
                ("corrupt", (5, 5, 5)),
                ("stale", ()),
                ("refused", ()),
            ]
        )
    ]

    assert count_fates(2, fates) == FatesDecided(
        shard=2, offered=6, lost=1, duplicated=2, delayed=2, corrupted=1, stale=1, refused=1, copies=6
    )


# Garbage.

GARBAGE = {
    "no fields": (None, None),
    "empty": (b"", None),
    "bad checksum": (b"\0" + frame()[1:], None),
    "oversized": (b"x" * (MAX_FRAME + 1), None),
    "alien run": (frame(run="other"), None),
    "receiver is no robot": (frame(receiver="relay"), None),
    "sender is no robot": (frame(sender="rx"), None),
    "sequence of a liar": (frame(2**60), None),
    "undecodable control": (None, b"garbage"),
    "oversized control": (None, encode_control(PlanChange((), "", "x" * MAX_FRAME))),
    "unknown control": (None, b"\x92\xa5dance\x01"),
    "plan of unknown faults": (None, encode_control(plan("gremlins 0.2"))),
    "plan of misspelt faults": (None, encode_control(plan("loss 1", "loss 1.5"))),
    "plan of a negative instance": (None, encode_control(PlanChange((Planned(-20, "loss 0.5"),)))),
    "plan with a time": (None, encode_control(plan("loss 1 @5s"))),
    "broken text": (None, b"\x93\xa4born\xa2\xff\xff\x01"),
    "deep nest": (None, b"\x91" * 50_000),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_is_refused_recorded_acked_and_changes_nothing(garbage: tuple[bytes | None, bytes | None]) -> None:
    relay = relay_under("burst-loss 0.5 3", "corrupt 1 r01")

    relay.offer(OutboxEntry("1000-0", *garbage))

    [fate] = relay.fates()
    assert (fate.state, fate.sender, fate.deliveries) == ("refused", None, ())
    assert fate.wire == len(garbage[0] or garbage[1] or b"")
    assert count_fates(0, [fate]).refused == 1
    relay.confirm("1000-0")
    assert relay.may_ack() == ["1000-0"]
    assert relay.due(1 << 62) == relay.changes() == relay.notes() == []


# Control entries that come too late.


def test_a_control_entry_that_comes_after_later_ones_is_refused_and_changes_nothing() -> None:
    # Given a relay that has met a plan and a birth
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
    assert [met.change for met in relay.changes()] == [plan("delay 2ms")]


def test_what_no_relay_read_in_its_turn_is_too_late_unless_it_is_known() -> None:
    relay = relay_under("delay 1ms")
    relay.offer_late(control(1, plan("delay 1ms")))
    relay.offer_late(control(500, plan("loss 1")))
    relay.offer_late(control(500, plan("loss 1")))
    relay.offer_late(entry(600))

    assert [note.entry for note in relay.notes()] == ["1-0"]
    assert decided(relay) == {"500-0": ("refused", ()), "600-0": ("delivered", (1_000,))}


@pytest.mark.parametrize("garbage", [None, plan("gremlins 0.2"), plan("delay 9ms")], ids=["none", "misspelt", "other"])
def test_garbage_among_what_was_copied_means_nothing_but_bars_what_stands_before_it(garbage: PlanChange | None) -> None:
    # Given a control stream into which somebody has put something by hand
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
    # Given a relay that met a thousand plans
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
    # Given a relay that remembers plans which only differ in who asked for them
    relay = Relay(RUN, 1)
    before = plans_in_memory()
    for number in range(1, 1001):
        change = plan("delay 1ms") if number % 2 else NOTHING
        relay.remember(f"{number}-0", PlanChange(change.faults, request=f"{number}-0", words="set delay 1ms"))

    assert plans_in_memory() - before == 1
    # Then each is told as what it is
    relay.offer(control(2000, NOTHING))
    [met] = relay.changes()
    assert (met.old.request, met.change) == ("1000-0", NOTHING)


def test_a_heal_gets_through_a_relay_that_a_throttle_has_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a relay that may hold 100 copies, and many more envelopes than a throttle lets pass in an hour
    monkeypatch.setattr("broker.relay.state.HELD_LIMIT", 100)
    lab = Lab(never, "throttle 1/s")
    for number in range(1, 4001):
        lab.put(0, frame(number), None)
    lab.work()
    lab.work()
    assert any(isinstance(event, RelayCongested) for event in lab.events)
    assert len(lab.outboxes[0].fresh) > 3000
    # When everything is healed
    lab.put(0, None, encode_control(NOTHING))
    lab.put(0, frame(4001), None)
    asked_us = lab.time.now_us
    while len(lab.outboxes[0].controls) < 2:
        lab.time.now_us += 10_000
        lab.work()
        assert lab.time.now_us - asked_us <= LONGEST_WAIT_US + 200_000
    # Then that is heard as soon as the longest wait is over, and nothing waits any more
    while lab.outboxes[0].fresh or lab.outboxes[0].pending:
        lab.work()
    assert lab.copies.total() == 4001


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

    assert relay.detained == 4000
    assert not relay.is_full


# The memory relay, and its deaths.

POINTS = ("taken", "noted", "putting out", "put-out", "acked", "holding")
HARMS = (
    "partition hold r00|r01",
    "partition hold r00..r01>r02",
    "partition r01>r00",
    "burst-loss 0.3 3",
    "loss 0.2",
    "duplicate 0.4 x3",
    "delay 1ms..20ms",
    "delay 3ms~0.8 r02",
    "reorder 0.3",
    "corrupt 0.3",
)


class Death(Exception):
    """A relay ended in the midst of its work."""


class Clock:
    def __init__(self) -> None:
        self.now_us = 1_700_000_000_000_000

    def wall_us(self) -> int:
        return self.now_us

    def monotonic_us(self) -> int:
        return self.now_us


class Lab(MemoryServer):
    """A server with one shard, and relays of which `mortal` says at each point whether they die there."""

    def __init__(self, mortal: Callable[[str], bool], *faults: str) -> None:
        self.time = Clock()
        super().__init__(self.time)
        self.mortal = mortal
        self.deaths: Counter[str] = Counter()
        self.copies: Counter[tuple[str, int]] = Counter()
        self.frames: dict[tuple[str, int], set[bytes]] = {}
        self.early = 0
        self.sent: set[str] = set()
        self.done: set[str] = set()
        self.known: dict[str, Fate] = {}
        self.rows_read = 0
        self.events: list[AnyEvent] = []
        MemoryDesk(self).deal(Dealing(RUN, 1, plan(*faults), {}, b""))
        self.relay: MemoryRelay | None = None

    def put(self, shard: int, frame: bytes | None, control: bytes | None, trace: bytes | None = None) -> None:
        super().put(shard, frame, control, trace)
        self.sent.add(self.outboxes[shard].fresh[-1].id)

    def deliver(self, copy: Copy) -> None:
        self.passing("putting out")
        self.early += copy.due_us > self.time.now_us
        self.copies[copy.entry, copy.number] += 1
        self.frames.setdefault((copy.entry, copy.number), set()).add(copy.frame)
        super().deliver(copy)

    def passing(self, point: str) -> None:
        if self.mortal(point):
            self.deaths[point] += 1
            raise Death(point)

    def work(self, step: Callable[[MemoryRelay], None] = MemoryRelay.step) -> bool:
        """Let the relay (a new one after a death) take a step. False: it died."""
        try:
            if self.relay is None:
                self.relay = MemoryRelay(self, RUN, 0, 7, self.events.append, self.passing)
            step(self.relay)
        except Death:
            self.relay = None
            return False
        finally:
            self.assert_nothing_acked_in_vain()
        return True

    def assert_nothing_acked_in_vain(self) -> None:
        """What is neither pending nor unread is noted, or has a fate and all its copies."""
        box = self.outboxes[0]
        noted = {entry for entry, _ in box.controls}
        fates = self.fates()
        acked = self.sent - self.done - box.pending.keys() - {entry.id for entry in box.fresh}
        for entry in acked - noted:
            assert all(self.copies[entry, number] for number in range(len(fates[entry].deliveries)))
        self.done |= acked

    def fates(self) -> dict[str, Fate]:
        """Of every entry, its one fate: all records of it are equal."""
        rows = self.outboxes[0].fates
        for row in rows[self.rows_read :]:
            if isinstance(row, Fate):
                assert self.known.setdefault(row.entry, row) == row
        self.rows_read = len(rows)
        return self.known


def never(_point: str) -> bool:
    return False


def dying(chance: Random, share: float, *points: str) -> Callable[[str], bool]:
    """Death at `points`, for a share of the passages: fifty times at most, or nothing would ever be done."""
    lives = iter(range(50))
    return lambda here: here in points and chance.random() < share and next(lives, None) is not None


Sent = tuple[int, bytes | None, bytes | None]
"""Microseconds after the one before, and an outbox entry's two fields."""


def a_history(chance: Random, entries: int = 150) -> Iterator[Sent]:
    """What three robots and a conductor put into an outbox, with garbage in between; at the end all is healed."""
    sequences: Counter[tuple[str, int, str]] = Counter()
    lives = Counter(["r00", "r01", "r02"])
    instance = 100
    for _ in range(entries):
        pause_us = chance.choice((0, 0, 500, 5_000))
        what = chance.random()
        if what < 0.08:
            harms = chance.sample(HARMS, chance.randrange(5))
            faults = tuple(Planned(instance + place, harm) for place, harm in enumerate(harms))
            instance += len(faults)
            yield pause_us, None, encode_control(PlanChange(faults))
        elif what < 0.12:
            robot = chance.choice(sorted(lives))
            lives[robot] += 1
            yield pause_us, None, encode_control(Birth(robot, lives[robot], "nonce"))
        elif what < 0.16:
            yield pause_us, *chance.choice(list(GARBAGE.values()))
        else:
            sender, receiver = chance.sample(sorted(lives), 2)
            life = max(1, lives[sender] - (chance.random() < 0.2))
            sequences[sender, life, receiver] += 1
            yield pause_us, frame(sequences[sender, life, receiver], sender, receiver, life), None
    yield 2_000, None, encode_control(NOTHING)


def live_through(history: list[Sent], chance: Random, mortal: Callable[[str], bool]) -> Lab:
    """A lab in which relays worked, and died, while these entries came, until all was done."""
    lab = Lab(mortal, "loss 0.1", "delay 1ms..5ms", "partition hold r01|r02")
    for pause_us, envelope, change in history:
        lab.time.now_us += pause_us
        lab.put(0, envelope, change)
        if chance.random() < 0.3:
            lab.work()
    while lab.outboxes[0].fresh or lab.outboxes[0].pending:
        lab.time.now_us += 2_000
        lab.work()
    assert lab.early == 0
    return lab


@pytest.mark.parametrize("point", POINTS)
def test_a_relay_may_die_anywhere_and_every_entry_still_gets_exactly_its_fate(point: str) -> None:
    deaths = 0
    for seed in range(6):
        # Given a history, and what its fates are when no relay dies
        history = list(a_history(Random(seed)))
        chance = Random(seed)
        undisturbed = live_through(history, Random(0), never)
        # When relays die at one point, again and again
        lab = live_through(history, chance, dying(chance, 0.4, point))
        # Then every entry has the fate that it had
        assert lab.fates() == undisturbed.fates()
        assert_everything_arrived(lab)
        assert lab.outboxes[0].controls == undisturbed.outboxes[0].controls
        deaths += lab.deaths[point]
    assert deaths > 50


@pytest.mark.parametrize("seed", range(12))
def test_nor_does_it_matter_how_often_and_where_relays_die(seed: int) -> None:
    history = list(a_history(Random(seed)))
    chance = Random(seed)
    undisturbed = live_through(history, Random(0), never)

    lab = live_through(history, chance, dying(chance, 0.1, *POINTS))

    assert lab.deaths.total() > 10
    assert lab.fates() == undisturbed.fates()
    assert_everything_arrived(lab)


def assert_everything_arrived(lab: Lab) -> None:
    """Each copy of each fate arrived, always with the same bytes; oftener than once only if its entry was redone."""
    fates = lab.fates()
    promised = {(fate.entry, number): fate for fate in fates.values() for number in range(len(fate.deliveries))}
    assert set(lab.copies) == set(promised)
    redone = Counter(each for row in lab.outboxes[0].fates if isinstance(row, list) for each in row)
    assert all(times <= 1 + redone[each] for (each, _), times in lab.copies.items())
    assert all(len(frames) == 1 for frames in lab.frames.values())
    controls = {each for each, _ in lab.outboxes[0].controls}
    assert set(fates) | controls == lab.sent
    assert not set(fates) & controls


def test_histories_hold_back_damage_refuse_and_outdate() -> None:
    """What the tests of deaths rest on: every kind of fate is in their histories."""
    states: Counter[str] = Counter()
    held_back = 0
    for seed in range(8):
        lab = live_through(list(a_history(Random(seed))), Random(0), never)
        states.update(fate.state for fate in lab.fates().values())
        in_order = [parse_id(fate) for fate in lab.fates()]
        held_back += sum(fate < latest for fate, latest in zip(in_order, accumulate(in_order, max), strict=True))
    assert all(states[state] > 30 for state in ("delivered", "corrupt", "stale", "refused"))
    assert held_back > 30


def test_a_drain_leaves_pending_what_no_plan_freed() -> None:
    # Given an envelope behind a partition that holds, and one that is delayed
    lab = Lab(never, "partition hold r00|r01", "delay 1m")
    lab.put(0, frame(1), None)
    lab.put(0, frame(1, receiver="r02"), None)
    # When the relay drains
    assert lab.work(MemoryRelay.drain)
    # Then the delayed one is out, and the other still pending
    held, delayed = sorted(lab.sent, key=parse_id)[1:]
    assert lab.copies == Counter({(delayed, 0): 1})
    assert list(lab.outboxes[0].pending) == [held]
    # When the heal comes after all, the next drain is whole
    lab.put(0, None, encode_control(NOTHING))
    lab.relay = None
    assert lab.work(MemoryRelay.drain)
    assert not lab.outboxes[0].pending
    assert lab.copies[held, 0] == 1


def test_a_memory_relay_reads_no_more_than_it_may_hold() -> None:
    # Given a plan under which each envelope becomes ten copies of 72 KiB, for a second
    lab = Lab(never, "duplicate 1 x10", "delay 1s")
    big = frame(body=bytes(72 * 1024))
    for _ in range(800):
        lab.put(0, big, None)
    # When the relay works
    for _ in range(10):
        lab.work()
    # Then it stops reading, says so once, and goes on when copies are out
    assert len(lab.outboxes[0].fresh) > 200
    assert [event for event in lab.events if isinstance(event, RelayCongested)] == [
        RelayCongested(0, len(lab.outboxes[0].pending) * 10)
    ]
    lab.time.now_us += 1_000_000
    for _ in range(3):
        lab.work()
    assert not lab.outboxes[0].fresh
