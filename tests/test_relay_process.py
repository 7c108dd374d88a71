"""The real relay between real streams: what it must never lose, whatever cuts it short."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import pytest
from cutting_proxy import CuttingProxy
from waiting import await_true

from broker.dice import Dice
from broker.embedded import EmbeddedServer
from broker.envelope import Envelope, decode, encode
from broker.parent_death import die_with_parent
from broker.plan import Birth, Plan, PlanChange, Planned, encode_control
from broker.ports import Dealing, Evidence
from broker.relay import Fate
from broker.streams.connection import connect
from broker.streams.desk import StreamDesk
from broker.streams.keys import Keys
from broker.streams.relay import GROUP, RelayProcess
from telemetry.events import AnyEvent, FatesDecided, PlanChanged, RelayResumed

pytestmark = pytest.mark.live

SEED = 7
ROBOTS = ("r00", "r01", "r02")
STORMY = ("loss 0.2", "duplicate 0.3", "delay 1ms..20ms", "reorder 0.2")
_runs = count()

Copies = Counter[tuple[str, int, int, int]]
"""How often each copy (sender, incarnation, sequence, number) stands in an inbox."""


class Shard:
    """A run with one shard, as its robots and its relay see it."""

    def __init__(self, url: str, *faults: str) -> None:
        self.run = f"p{next(_runs)}"
        self.url = url
        self.keys = Keys(self.run)
        self.plan = PlanChange(tuple(Planned(number, text) for number, text in enumerate(faults)))
        self.client = connect(url)
        self.desk = StreamDesk(self.client, self.run)
        self.desk.deal(Dealing(self.run, 1, self.plan, {robot: [b"header"] for robot in ROBOTS}, b""))
        self.events: list[AnyEvent] = []

    def send(self, envelopes: int, sender: str = "r00", receiver: str = "r01", incarnation: int = 1) -> None:
        with self.client.pipeline(transaction=False) as pipe:
            for sequence in range(1, envelopes + 1):
                frame = encode(Envelope(self.run, sender, incarnation, receiver, sequence, b"exchange", "summary", b""))
                pipe.xadd(self.keys.outbox(0), {"e": frame})
            pipe.execute()

    def relay(self, url: str | None = None) -> RelayProcess:
        return RelayProcess(url or self.url, self.run, 0, SEED, self.events.append)

    def drain(self) -> Evidence:
        """Let a relay do what is there, and collect."""
        self.relay().run(lambda: True)
        return self.desk.collect()

    @contextmanager
    def relaying(self, url: str | None = None) -> Iterator[None]:
        """A relay at work beside us, drained at the end."""
        done = threading.Event()
        thread = threading.Thread(target=self.relay(url).run, args=(done.is_set,))
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def fork_relay(self) -> int:
        """A relay in a process of its own; its pid."""
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            die_with_parent(parent)
            self.relay().run(lambda: False)
            os._exit(0)
        return pid

    def pending(self) -> int:
        return int(self.client.xpending(self.keys.outbox(0), GROUP)["pending"])

    def delivered(self) -> Copies:
        copies: Copies = Counter()
        for robot in ROBOTS:
            for _, fields in self.client.xrange(self.keys.inbox(robot)):
                envelope = decode(fields[b"e"])
                assert isinstance(envelope, Envelope)
                assert envelope.receiver == robot
                copies[envelope.sender, envelope.incarnation, envelope.sequence, int(fields[b"c"])] += 1
        return copies


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as embedded:
        yield embedded


@pytest.fixture
def make_shard(server: EmbeddedServer) -> Iterator[Callable[..., Shard]]:
    shards: list[Shard] = []

    def make(*faults: str) -> Shard:
        shards.append(Shard(server.url, *faults))
        return shards[-1]

    yield make
    for shard in shards:
        shard.client.close()


def fates_of(evidence: Evidence) -> list[Fate]:
    return [row for row in evidence.fates[0] if isinstance(row, Fate)]


def decided_entries(evidence: Evidence) -> set[str]:
    return {fate.entry for fate in fates_of(evidence)}


def redone_in(evidence: Evidence) -> Counter[str]:
    """How often each entry was about to be redone."""
    return Counter(entry for row in evidence.fates[0] if isinstance(row, list) for entry in row)


def decided(evidence: Evidence) -> Copies:
    """The copies that the recorded fates promise, each entry counted once."""
    fates = {fate.entry: fate for fate in fates_of(evidence)}
    return Counter(
        (str(fate.sender), int(fate.incarnation or 0), int(fate.sequence or 0), number)
        for fate in fates.values()
        for number in range(len(fate.deliveries))
    )


def assert_nothing_lost(shard: Shard, evidence: Evidence, envelopes: int) -> None:
    """Every envelope has fates that are all equal, and its copies arrived: more than once only if it was redone."""
    fates = fates_of(evidence)
    by_entry = {fate.entry: fate for fate in fates}
    assert len(by_entry) == envelopes
    assert all(fate == by_entry[fate.entry] for fate in fates)
    delivered, promised = shard.delivered(), decided(evidence)
    assert set(delivered) == set(promised)
    redone = redone_in(evidence)
    redone_copies = sum(len(by_entry[entry].deliveries) * times for entry, times in redone.items() if entry in by_entry)
    assert 0 <= delivered.total() - promised.total() <= redone_copies
    assert shard.pending() == 0


def test_every_envelope_is_delivered_as_its_fate_says(make_shard: Callable[..., Shard]) -> None:
    # Given a stormy plan, and 600 envelopes between robots
    shard = make_shard(*STORMY)
    for sender, receiver in (("r00", "r01"), ("r01", "r02"), ("r02", "r00")):
        shard.send(200, sender, receiver)
    # When the relay has done them
    evidence = shard.drain()
    # Then each has one fate, and it is what the plan and the dice say
    plan, dice = Plan(shard.plan), Dice(SEED)
    fates = fates_of(evidence)
    assert len(fates) == 600
    for fate in fates:
        assert (fate.sender, fate.incarnation, fate.receiver, fate.sequence) != (None, None, None, None)
        assert fate.deliveries == plan.fate(dice, str(fate.sender), 1, str(fate.receiver), int(fate.sequence or 0))
    # And the inboxes hold exactly the copies that these fates say
    assert shard.delivered() == decided(evidence)
    assert shard.pending() == 0
    assert sum(inbox.added for inbox in evidence.inboxes.values()) == decided(evidence).total()
    # And the telling agrees
    told = [event for event in shard.events if isinstance(event, FatesDecided)]
    assert sum(event.offered for event in told) == 600
    assert sum(event.copies for event in told) == decided(evidence).total()
    assert shard.events[0] == PlanChanged(0, STORMY)


def test_a_late_copy_waits_for_its_time(make_shard: Callable[..., Shard]) -> None:
    # Given a plan that holds everything back for 150 ms
    shard = make_shard("delay 150ms")
    with shard.relaying():
        shard.send(3)
        [*_, last] = shard.client.xrange(shard.keys.outbox(0))
        await_true(lambda: shard.delivered().total() == 3)
    # Then no copy arrived before its time, by the server's own clock
    [first, *_] = shard.client.xrange(shard.keys.inbox("r01"))
    sent_ms, came_ms = (int(entry.partition(b"-")[0]) for entry in (last[0], first[0]))
    assert came_ms - sent_ms >= 149


def test_acknowledgements_do_not_wait_for_work(make_shard: Callable[..., Shard]) -> None:
    shard = make_shard()
    with shard.relaying():
        shard.send(5)
        await_true(lambda: shard.delivered().total() == 5)
        await_true(lambda: shard.pending() == 0)


def test_control_entries_are_copied_under_their_own_ids(make_shard: Callable[..., Shard]) -> None:
    # Given an older life's envelopes before and after its successor's birth
    shard = make_shard()
    outbox = shard.keys.outbox(0)
    shard.send(2, incarnation=1)
    birth = Birth("r00", 2, "nonce")
    entry = shard.client.xadd(outbox, {"x": encode_control(birth)})
    shard.send(3, incarnation=1)
    # When the relay has done them, twice over
    shard.drain()
    evidence = shard.drain()
    # Then the plan and the birth stand in the control stream as they stood in the outbox
    assert [control for _, control in evidence.controls[0]] == [shard.plan, birth]
    assert evidence.controls[0][1][0] == entry.decode()
    # And what stood after the birth was stale
    assert [fate.state for fate in fates_of(evidence)] == ["delivered"] * 2 + ["stale"] * 3
    assert shard.delivered().total() == 2


def test_garbage_is_refused_and_done_with(make_shard: Callable[..., Shard]) -> None:
    shard = make_shard()
    shard.client.xadd(shard.keys.outbox(0), {"e": b"garbage"})
    shard.client.xadd(shard.keys.outbox(0), {"what": b"is this"})
    shard.client.xadd(shard.keys.outbox(0), {"x": b"no control"})
    evidence = shard.drain()
    assert [fate.state for fate in fates_of(evidence)] == ["refused"] * 3
    assert shard.pending() == 0


def test_a_relay_killed_with_copies_in_hand_is_followed_by_one_that_redoes_them(
    make_shard: Callable[..., Shard],
) -> None:
    # Given a relay that has decided some fates, and holds every copy for long
    shard = make_shard("loss 0.2", "duplicate 0.3", "delay 10s..20s")
    shard.send(600)
    pid = shard.fork_relay()
    await_true(lambda: len(fates_of(shard.desk.collect())) == 600)
    # When it is killed, and another takes over
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    held = shard.pending()
    assert held > 400  # all that are not lost
    evidence = shard.drain()
    # Then it records what it redoes, decides the same, and nothing is lost
    assert len(redone_in(evidence)) == held
    assert RelayResumed(0, held) in shard.events
    assert len(fates_of(evidence)) == 600 + held
    assert_nothing_lost(shard, evidence, 600)


def test_relays_killed_again_and_again_lose_nothing(make_shard: Callable[..., Shard]) -> None:
    # Given a stream of envelopes through a storm
    shard = make_shard(*STORMY)
    for kill in range(4):
        shard.send(1500, incarnation=kill + 1)
        # When each relay is killed somewhere in its work
        before = shard.delivered().total()
        pid = shard.fork_relay()
        await_true(lambda before=before: shard.delivered().total() > before)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    # Then the last one leaves nothing undone
    assert_nothing_lost(shard, shard.drain(), 6000)


@pytest.mark.parametrize("request_cut", [b"XREADGROUP", b"XACK", b"MAXLEN", b"MULTI"])
def test_lost_replies_lose_nothing(
    make_shard: Callable[..., Shard], server: EmbeddedServer, request_cut: bytes
) -> None:
    # Given a relay behind a proxy that loses replies
    shard = make_shard(*STORMY)
    proxy = CuttingProxy(server.folder / "redis.sock", server.folder / f"relay{next(_runs)}.sock")
    try:
        proxy.cut(request_cut, times=1 if request_cut == b"MULTI" else 3)
        with shard.relaying(proxy.url):
            for incarnation in range(1, 6):
                shard.send(100, incarnation=incarnation)
                await_true(lambda offered=100 * incarnation: len(decided_entries(shard.desk.collect())) == offered)
        assert proxy.cuts >= 1
    finally:
        proxy.close()
    # Then every envelope is delivered as its fate says, and what was redone is on record
    assert_nothing_lost(shard, shard.desk.collect(), 500)


def test_a_server_out_of_memory_loses_nothing(make_shard: Callable[..., Shard]) -> None:
    # Given a relay that holds copies of everything
    shard = make_shard("delay 300ms", "duplicate 0.5")
    client = shard.client

    def refusals() -> int:
        return int(client.info("errorstats").get("errorstat_OOM", {}).get("count", 0))

    with shard.relaying():
        shard.send(400)
        await_true(lambda: len(fates_of(shard.desk.collect())) == 400)
        # When the server refuses every write as they come due
        before = refusals()
        client.config_set("maxmemory", 1)
        try:
            await_true(lambda: refusals() > before + 400)
            # Then nothing is acknowledged
            assert shard.delivered().total() == 0
            assert shard.pending() == 400
        finally:
            client.config_set("maxmemory", 0)
        # And when there is memory again, everything arrives, once
        await_true(lambda: shard.pending() == 0)
    evidence = shard.desk.collect()
    assert shard.delivered() == decided(evidence)
    assert_nothing_lost(shard, evidence, 400)


def test_the_outbox_is_trimmed_only_below_what_is_done(make_shard: Callable[..., Shard]) -> None:
    # Given much that is done, and then one entry that is held for long
    shard = make_shard("delay 1ms")
    shard.send(3000)
    shard.drain()
    assert shard.desk.collect().outboxes[0].length == 3001
    slow = PlanChange((Planned(0, "delay 50s"),))
    shard.client.xadd(shard.keys.outbox(0), {"x": encode_control(slow)})
    with shard.relaying():
        shard.send(1, incarnation=2)
        # When the relay does its chores
        await_true(lambda: shard.desk.collect().outboxes[0].length < 200)
        # Then what is not acknowledged stands there still
        await_true(lambda: shard.pending() == 1)
        [oldest] = shard.client.xpending_range(shard.keys.outbox(0), GROUP, "-", "+", 1)
        assert shard.client.xrange(shard.keys.outbox(0), oldest["message_id"], oldest["message_id"])
    assert_nothing_lost(shard, shard.desk.collect(), 3001)
