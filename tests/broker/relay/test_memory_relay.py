"""The memory relay: it may die anywhere, and every entry still gets exactly its fate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import accumulate
from random import Random

import pytest

from broker.control_entries import Birth, PlanChange, Planned, encode_control
from broker.memory.relay import MemoryRelay
from broker.memory.run_control import MemoryRunControl
from broker.memory.server import MemoryServer
from broker.ports.run import RunSpec
from broker.relay.core import Copy, Fate, Relay, parse_id
from broker.relay.state import LONGEST_WAIT_US
from telemetry.events import AnyEvent, RelayCongested
from tests.broker.relay.entries import GARBAGE, NOTHING, RUN, frame, plan


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
    healed_us = lab.time.now_us
    while len(lab.outboxes[0].controls) < 2:
        lab.time.now_us += 10_000
        lab.work()
        assert lab.time.now_us - healed_us <= LONGEST_WAIT_US + 200_000
    # Then the relay reads that as soon as the longest wait is over, and nothing waits any more
    while lab.outboxes[0].fresh or lab.outboxes[0].pending:
        lab.work()
    assert lab.copies.total() == 4001


POINTS = ("taken", "noted", "putting out", "put-out", "acked", "holding")
FAULTS = (
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
    """A server with one shard, and relays; `mortal` decides at each point whether one dies there."""

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
        MemoryRunControl(self).deal(RunSpec(RUN, 1, plan(*faults), {}, b""))
        self.relay: MemoryRelay | None = None

    def put(self, shard: int, frame: bytes | None, control: bytes | None) -> None:
        super().put(shard, frame, control)
        self.sent.add(self.outboxes[shard].fresh[-1].id)

    def deliver(self, copy: Copy) -> None:
        self.failpoint("putting out")
        self.early += copy.due_us > self.time.now_us
        self.copies[copy.entry, copy.number] += 1
        self.frames.setdefault((copy.entry, copy.number), set()).add(copy.frame)
        super().deliver(copy)

    def failpoint(self, point: str) -> None:
        if self.mortal(point):
            self.deaths[point] += 1
            raise Death(point)

    def work(self, step: Callable[[MemoryRelay], None] = MemoryRelay.step) -> bool:
        """Let the relay (a new one after a death) take a step. False: it died."""
        try:
            if self.relay is None:
                self.relay = MemoryRelay(self, 0, Relay(RUN, 7), self.events.append, self.failpoint)
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
            for fate in row.fates:
                assert self.known.setdefault(fate.entry, fate) == fate
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
    """What three robots and a plan publisher put into an outbox, with garbage in between; at the end all is healed."""
    sequences: Counter[tuple[str, int, str]] = Counter()
    lives = Counter(["r00", "r01", "r02"])
    instance = 100
    for _ in range(entries):
        pause_us = chance.choice((0, 0, 500, 5_000))
        what = chance.random()
        if what < 0.08:
            texts = chance.sample(FAULTS, chance.randrange(5))
            faults = tuple(Planned(instance + place, text) for place, text in enumerate(texts))
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
    redone = Counter(each for row in lab.outboxes[0].fates for each in row.redo)
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
    assert all(states[state] > 30 for state in ("delivered", "lost", "corrupt", "stale", "refused"))
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
    # Then it stops reading, reports that once, and goes on when copies are out
    assert len(lab.outboxes[0].fresh) > 200
    assert [event for event in lab.events if isinstance(event, RelayCongested)] == [
        RelayCongested(0, len(lab.outboxes[0].pending) * 10)
    ]
    lab.time.now_us += 1_000_000
    for _ in range(3):
        lab.work()
    assert not lab.outboxes[0].fresh
