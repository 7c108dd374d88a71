"""The real relay between real streams: what it must never lose, whatever cuts it short."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import redis

from broker.control_entries import Birth, PlanChange, Planned, encode_control
from broker.envelope import Envelope, encode
from broker.errors import Unavailable
from broker.faults.dice import Dice
from broker.faults.fate import Plan
from broker.relay.core import BATCH, Relay, parse_id
from broker.streams.embedded import EmbeddedServer
from broker.streams.outage import ServerWatch
from broker.streams.relay.wire import GROUP
from broker.streams.run.events import StreamEventSource
from deploy.fleet.relay_main import standby
from telemetry.events import AnyEvent, FatesDecided, PlanChanged, RelayCongested, RelayDeposed, RelayResumed
from telemetry.stream.publisher import decode_events
from tests.broker.streams.relay_lab import (
    SEED,
    STORMY,
    Shard,
    assert_nothing_lost,
    decided,
    decided_entries,
    fates_of,
    planned,
    redone_in,
    refusals,
    run_numbers,
)
from tests.support.cutting_proxy import CuttingProxy
from tests.support.waiting import await_true

pytestmark = pytest.mark.live


def test_every_envelope_is_delivered_as_its_fate_states(make_shard: Callable[..., Shard]) -> None:
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
        assert (
            fate.deliveries
            == plan.fate(dice, str(fate.sender), 1, str(fate.receiver), int(fate.sequence or 0)).deliveries
        )
    # And the inboxes hold exactly the copies that these fates say
    assert shard.delivered() == decided(evidence)
    assert shard.pending() == 0
    assert sum(inbox.added for inbox in evidence.inboxes.values()) == decided(evidence).total()
    # And the telling agrees
    reported = [event for event in shard.events if isinstance(event, FatesDecided)]
    assert sum(event.offered for event in reported) == 600
    assert sum(event.copies for event in reported) == decided(evidence).total()
    assert shard.events[:2] == [RelayResumed(0, 0), PlanChanged(0, (), STORMY)]


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


def test_a_server_that_is_slow_to_read_its_clock_makes_no_copy_early(
    make_shard: Callable[..., Shard], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a relay whose server takes 0.3 s before it reads its clock
    shard = make_shard("delay 150ms")
    read_clock = redis.Redis.time

    def read_clock_slowly(client: redis.Redis) -> Any:
        time.sleep(0.3)  # the server is busy
        return read_clock(client)

    monkeypatch.setattr(redis.Redis, "time", read_clock_slowly)
    # When it relays what is sent before, while and after it asks
    with shard.relaying():
        for _ in range(30):
            shard.send(1)
            time.sleep(0.05)
        await_true(lambda: shard.delivered().total() == 30)
    # Then by the ids that the server gave, each copy came after its time
    sent_ms = [parse_id(entry.decode())[0] for entry, _ in shard.client.xrange(shard.keys.outbox(0))][-30:]
    came_ms = [parse_id(entry.decode())[0] for entry, _ in shard.client.xrange(shard.keys.inbox("r01"))]
    assert min(came - sent for sent, came in zip(sent_ms, came_ms, strict=True)) >= 150


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
    entry = shard.client.xadd(outbox, {"control": encode_control(birth)})
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
    # Given what people may put into an outbox by hand, between envelopes
    shard = make_shard()
    good = encode(Envelope(shard.run, "r00", 1, "r01", 1, b"exchange", "summary", b""))
    garbage: list[dict[Any, Any]] = [
        {"envelope": b"garbage"},
        {"what": b"is this"},
        {"control": b"no control"},
        {"control": encode_control(planned("no such fault"))},
        {"control": encode_control(planned("loss 0.5")) + b"\0" * 100_000},
        {"envelope": b"\0" * 1_000_000},
        {"envelope": good, "control": b""},
        {"f" * 1000: b"v", "trace": b""},
        {"envelope": encode(Envelope("other", "r00", 1, "r01", 1, b"exchange", "summary", b""))},
        {"envelope": encode(Envelope(shard.run, "r00", 1, "events", 1, b"exchange", "summary", b""))},
    ]
    for fields in garbage * 10:
        shard.send(1)
        shard.client.xadd(shard.keys.outbox(0), fields)
    # When the relay meets it
    evidence = shard.drain()
    # Then it is refused and counted, and everything is done with
    assert Counter(fate.state for fate in fates_of(evidence)) == {"delivered": 100, "refused": 100}
    assert sum(event.refused for event in shard.events if isinstance(event, FatesDecided)) == 100
    assert shard.pending() == 0
    assert shard.delivered().total() == 100
    assert [control for _, control in evidence.controls[0]] == [shard.plan]


@pytest.mark.parametrize("request_cut", [b"XREADGROUP", b"XACK", b"MAXLEN", b"PEXPIRE", b":control"])
def test_lost_replies_lose_nothing(
    make_shard: Callable[..., Shard], server: EmbeddedServer, request_cut: bytes
) -> None:
    # Given a relay behind a proxy that loses replies
    shard = make_shard(*STORMY)
    proxy = CuttingProxy(server.folder / "redis.sock", server.folder / f"relay{next(run_numbers)}.sock")
    try:
        proxy.cut(request_cut, times=1 if request_cut == b":control" else 3)
        with shard.relaying(proxy.url):
            for incarnation in range(1, 6):
                shard.send(100, incarnation=incarnation)
                await_true(lambda offered=100 * incarnation: len(decided_entries(shard.evidence.collect())) == offered)
        assert proxy.cuts >= 1
    finally:
        proxy.close()
    # Then every envelope is delivered as its fate says, and what was redone is on record
    assert_nothing_lost(shard, shard.evidence.collect(), 500)


def test_a_relay_far_from_its_server_keeps_its_lease(server: EmbeddedServer, make_shard: Callable[..., Shard]) -> None:
    # Given a relay whose server takes a fifth of a usual lease to answer
    shard = make_shard("delay 1ms")
    far = CuttingProxy(server.folder / "redis.sock", server.folder / f"far{next(run_numbers)}.sock", delay_s=0.08)
    try:
        with shard.relaying(far.url):
            # When it works, for longer than a lease
            for number in range(1, 4):
                shard.send(100, incarnation=number)
                await_true(lambda: RelayResumed(0, 0) in shard.events and shard.pending() == 0)
                await_true(lambda number=number: len(fates_of(shard.evidence.collect())) == 100 * number)
    finally:
        far.close()
    # Then it never lost the lease
    assert [event for event in shard.events if isinstance(event, RelayDeposed | RelayResumed)] == [RelayResumed(0, 0)]
    assert_nothing_lost(shard, shard.evidence.collect(), 300)


def test_a_server_out_of_memory_loses_nothing(make_shard: Callable[..., Shard]) -> None:
    # Given a relay that holds copies of everything
    shard = make_shard("delay 300ms", "duplicate 0.5")
    client = shard.client
    with shard.relaying():
        shard.send(400)
        await_true(lambda: len(fates_of(shard.evidence.collect())) == 400)
        # When the server refuses every write as they come due
        before = refusals(shard)
        client.config_set("maxmemory", 1)
        try:
            await_true(lambda: refusals(shard) > before + 30)  # some servers refuse a relay's very lease
            # Then nothing is acknowledged
            assert shard.delivered().total() == 0
            assert shard.pending() == 400
        finally:
            client.config_set("maxmemory", 0)
        # And when there is memory again, everything arrives, once
        await_true(lambda: shard.pending() == 0)
    evidence = shard.evidence.collect()
    assert shard.delivered() == decided(evidence)
    assert_nothing_lost(shard, evidence, 400)


def test_the_outbox_is_trimmed_only_below_what_is_done(make_shard: Callable[..., Shard]) -> None:
    # Given much that is done, and then one entry that is held for long
    shard = make_shard("delay 1ms")
    shard.send(3000)
    shard.drain()
    assert shard.evidence.collect().outboxes[0].length == 3001
    slow = PlanChange((Planned(0, "delay 50s"),))
    shard.client.xadd(shard.keys.outbox(0), {"control": encode_control(slow)})
    with shard.relaying():
        shard.send(1, incarnation=2)
        # When the relay does its chores
        await_true(lambda: shard.evidence.collect().outboxes[0].length < 200)
        # Then what is not acknowledged stands there still
        await_true(lambda: shard.pending() == 1)
        [oldest] = shard.client.xpending_range(shard.keys.outbox(0), GROUP, "-", "+", 1)
        assert shard.client.xrange(shard.keys.outbox(0), oldest["message_id"], oldest["message_id"])
    assert_nothing_lost(shard, shard.evidence.collect(), 3001)


def test_what_a_partition_holds_back_comes_when_it_heals_and_else_stays_pending(
    make_shard: Callable[..., Shard],
) -> None:
    # Given a partition that holds envelopes back
    shard = make_shard("partition hold r00|r01")
    with shard.relaying():
        shard.send(10)
        shard.send(5, receiver="r02")
        await_true(lambda: shard.delivered().total() == 5)
        await_true(lambda: shard.pending() == 10)
    # When the run ends without its end, then nothing crashes, and they stay pending
    assert shard.pending() == 10
    assert len(fates_of(shard.evidence.collect())) == 5
    # When a relay meets its end
    healed = shard.control(PlanChange((), request_id="1-1", request="heal"))
    evidence = shard.drain()
    # Then they arrive, later by as long as they were held
    assert_nothing_lost(shard, evidence, 15)
    freed_ms = int(healed.partition("-")[0])
    for fate in fates_of(evidence)[5:]:
        assert fate.deliveries == ((freed_ms - int(fate.entry.partition("-")[0])) * 1000,)
    assert PlanChanged(0, ("partition hold r00|r01",), (), "heal") in shard.events


def test_a_relay_that_holds_too_much_reads_nothing_more_for_a_while(
    make_shard: Callable[..., Shard], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a relay that may hold 100 copies
    monkeypatch.setattr("broker.relay.state.HELD_LIMIT", 100)
    shard = make_shard("delay 200ms")
    with shard.relaying():
        # When there are many more
        shard.send(1000)
        # Then it has taken little, and says so
        await_true(lambda: any(isinstance(event, RelayCongested) for event in shard.events))
        assert shard.pending() < 100 + 2 * BATCH
        # And goes on when they are due
        await_true(lambda: shard.delivered().total() == 1000)
    congestions = [event for event in shard.events if isinstance(event, RelayCongested)]
    assert all(100 <= event.held < 100 + 2 * BATCH for event in congestions)
    assert len(congestions) <= 10  # once each time, not at every look
    assert_nothing_lost(shard, shard.evidence.collect(), 1000)


def test_what_a_stranger_took_from_the_outbox_is_redone(make_shard: Callable[..., Shard]) -> None:
    # Given a relay, and a person who reads from the group by hand
    shard = make_shard()
    shard.drain()
    shard.send(3)
    shard.client.xreadgroup(GROUP, "stranger", {shard.keys.outbox(0): ">"}, count=2)
    with shard.relaying():
        await_true(lambda: shard.delivered().total() == 3)
        await_true(lambda: shard.pending() == 0)
    assert redone_in(shard.evidence.collect()).total() == 2


def test_what_somebody_put_into_the_control_stream_by_hand_stops_nothing(make_shard: Callable[..., Shard]) -> None:
    # Given a relay at work, and garbage in its control stream, also where the next control entries belong
    shard = make_shard("delay 1ms")
    control = shard.keys.control(0)
    with shard.relaying():
        shard.send(10)
        await_true(lambda: shard.delivered().total() == 10)
        shard.client.xadd(control, {"control": b"garbage"})
        shard.client.xadd(control, {"what": b"is this"})
        shard.client.xadd(control, {"control": encode_control(planned("no such fault"))}, id=f"{1 << 50}-0")
        # When a plan change comes that cannot be copied any more
        barred = shard.control(planned("loss 1"))
        shard.send(10, incarnation=2)
        # Then it is refused, and the work goes on under the plan before it
        await_true(lambda: shard.delivered().total() == 20)
        await_true(lambda: shard.pending() == 0)
    evidence = shard.drain()
    assert {fate.entry for fate in fates_of(evidence) if fate.state == "refused"} == {barred}
    assert {fate.deliveries for fate in fates_of(evidence) if fate.entry != barred} == {(1_000,)}
    assert ("0-1", shard.plan) in evidence.controls[0]


def test_a_drain_that_cannot_settle_everything_states_so(
    make_shard: Callable[..., Shard], monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = make_shard()
    shard.send(1)
    monkeypatch.setattr(Relay, "unacknowledged", property(lambda relay: relay.held_messages + 3))

    with pytest.raises(Unavailable, match="relay 0: 3 entries"):
        shard.relay().run(lambda: True)


def test_no_event_of_a_relay_stays_unpublished_while_it_rests(make_shard: Callable[..., Shard]) -> None:
    # Given a standby
    shard = make_shard()
    received: list[AnyEvent] = []
    is_over = threading.Event()
    reported = StreamEventSource(shard.client, shard.keys.events)
    published: list[AnyEvent] = []

    def has_all(event: type[AnyEvent]) -> bool:
        published.extend(stamped.event for frame in reported.read() for stamped in decode_events(frame))
        return published == received and any(isinstance(each, event) for each in received)

    new_core = partial(Relay, shard.run, SEED)
    work = partial(standby, shard.url, shard.run, (0,), new_core, is_over.is_set, received.append, ServerWatch(print))
    thread = threading.Thread(target=work)
    thread.start()
    try:
        # When several things happen to it at once, and then nothing more
        await_true(lambda: has_all(PlanChanged))
        shard.send(1)
        # Then all of them are published all the same
        await_true(lambda: has_all(FatesDecided))
    finally:
        is_over.set()
        thread.join()
