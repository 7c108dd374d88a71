"""The real relay on a cluster, whose outboxes and inboxes lie on several servers that may die one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis.exceptions import ResponseError

from broker.faults.dice import Dice
from broker.faults.fate import Plan
from broker.streams.cluster import ClusterClient
from broker.streams.connection import connect
from broker.streams.relay.cluster_line import ClusterLine, StoredCopies
from broker.streams.relay.lease import LEASE_MS
from broker.streams.relay.wire import pack
from telemetry.events import RelayDeposed, RelayResumed, ServerForgot
from tests.broker.streams.relay_lab import SEED, STORMY, Shard, assert_nothing_lost, decided, fates_of, redone_in
from tests.support.redis_cluster import ClusterServer, RedisCluster
from tests.support.waiting import await_true

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]

PAIRS = (("r00", "r01"), ("r01", "r02"), ("r02", "r00"))


@pytest.fixture
def make_shard(redis_cluster: RedisCluster) -> Iterator[Callable[..., Shard]]:
    shards: list[Shard] = []

    def make(*faults: str, **rest: Any) -> Shard:
        shards.append(Shard(redis_cluster.url, *faults, **rest))
        return shards[-1]

    yield make
    for shard in shards:
        shard.client.close()


def spread(make_shard: Callable[..., Shard], cluster: RedisCluster, *faults: str) -> tuple[Shard, ClusterServer]:
    """A shard of which r01's inbox lies at another server than the outbox, and r02's inbox; and that server."""
    while True:
        shard = make_shard(*faults)
        keys = shard.keys
        server = cluster.master_of(keys.inbox("r01"))
        if server not in (cluster.master_of(keys.outbox(0)), cluster.master_of(keys.inbox("r02"))):
            return shard, server


def test_every_envelope_is_delivered_as_its_fate_states(
    make_shard: Callable[..., Shard], redis_cluster: RedisCluster
) -> None:
    # Given a stormy plan, and 600 envelopes to robots whose inboxes lie on several servers
    shard, _ = spread(make_shard, redis_cluster, *STORMY)
    for sender, receiver in PAIRS:
        shard.send(200, sender, receiver)
    # When the relay has done them, then each has the fate that the plan and the dice state
    evidence = shard.drain()
    plan, dice = Plan(shard.plan), Dice(SEED)
    fates = fates_of(evidence)
    assert len(fates) == 600
    for fate in fates:
        wanted = plan.fate(dice, str(fate.sender), 1, str(fate.receiver), int(fate.sequence or 0))
        assert fate.deliveries == wanted.deliveries
    # And the inboxes hold exactly the copies that these fates state
    assert shard.delivered() == decided(evidence)
    assert shard.pending() == 0


def test_while_an_inbox_cannot_be_reached_the_relay_keeps_its_lease_and_loses_nothing(
    make_shard: Callable[..., Shard], redis_cluster: RedisCluster
) -> None:
    # Given a relay at work
    shard, server = spread(make_shard, redis_cluster, *STORMY)
    with shard.relaying():
        shard.send(100, "r00", "r01")
        await_true(lambda: shard.delivered().total() > 50)
        # When the server of an inbox dies, and more is sent to that and another one
        server.kill()
        shard.send(100, "r01", "r02")
        shard.send(100, "r02", "r01")
        # Then the relay holds its lease for far longer than that lasts without a renewal
        await_true(lambda: shard.holder() == "parent")
        until_s = time.monotonic() + 3 * LEASE_MS / 1000
        await_true(lambda: time.monotonic() > until_s or shard.holder() != "parent")
        assert shard.holder() == "parent"
        # And when the server is back, all that was decided is delivered
        server.start_again()
        await_true(lambda: shard.pending() == 0)
    evidence = shard.evidence.collect()
    assert_nothing_lost(shard, evidence, 300)
    # And only the copies whose replies were lost were redone, at one takeover at most
    assert not any(isinstance(event, RelayDeposed) for event in shard.events)
    assert sum(isinstance(event, RelayResumed) for event in shard.events) <= 2
    assert max(redone_in(evidence).values(), default=0) <= 1


def test_a_relay_whose_own_server_dies_goes_on_when_it_is_back(
    make_shard: Callable[..., Shard], redis_cluster: RedisCluster
) -> None:
    shard = make_shard(*STORMY)
    home = redis_cluster.master_of(shard.keys.outbox(0))
    with shard.relaying():
        shard.send(200, "r00", "r01")
        await_true(lambda: shard.delivered().total() > 50)
        home.kill()
        home.start_again()
        shard.send(100, "r01", "r02")
        await_true(lambda: shard.pending() == 0 and len(fates_of(shard.evidence.collect())) >= 300)
    assert_nothing_lost(shard, shard.evidence.collect(), 300)


def test_a_relay_follows_an_inbox_whose_slot_moves(
    make_shard: Callable[..., Shard], redis_cluster: RedisCluster
) -> None:
    shard, server = spread(make_shard, redis_cluster)
    inbox = shard.keys.inbox("r01")
    with shard.relaying():
        shard.send(50, "r00", "r01")
        await_true(lambda: shard.delivered().total() == 50)
        redis_cluster.move(inbox, next(other for other in redis_cluster.others(inbox) if other is not server))
        shard.send(50, "r02", "r01")
        await_true(lambda: shard.delivered().total() == 100)
    assert_nothing_lost(shard, shard.evidence.collect(), 100)
    # And no new session was needed
    assert sum(isinstance(event, RelayResumed) for event in shard.events) == 1


@pytest.mark.parametrize("is_at_its_end", [False, True])
def test_a_relay_reports_when_a_server_came_back_without_what_it_had_stored(
    make_shard: Callable[..., Shard], redis_cluster: RedisCluster, is_at_its_end: bool
) -> None:
    # Given a relay that has stored copies
    shard, _ = spread(make_shard, redis_cluster)
    key = shard.keys.inbox("r01")
    with shard.relaying():
        shard.send(20, "r00", "r01")
        await_true(lambda: shard.delivered().total() == 20 and shard.pending() == 0)  # it knows that all is stored
        # When a server comes back without the last of them, and another relay has written since
        server = redis_cluster.master_of(key)
        kept = shard.client.xrange(key)[:-1]
        with shard.client.pipeline() as pipe:
            pipe.delete(key)
            for entry, fields in kept:
                pipe.xadd(key, fields, id=entry)
            pipe.xadd(key, {"another's": "entry"})
            pipe.execute()
        assert not any(isinstance(event, ServerForgot) for event in shard.events)
        server.kill()
        server.start_again()
        # Then it reports that, once: when it next has something for that server, or when it ends
        if not is_at_its_end:
            shard.send(20, "r02", "r01")
            await_true(lambda: any(isinstance(event, ServerForgot) for event in shard.events))
            await_true(lambda: shard.pending() == 0)
    assert [event for event in shard.events if isinstance(event, ServerForgot)] == [ServerForgot("copies")]


def test_nothing_is_reported_of_a_server_that_has_all(
    make_shard: Callable[..., Shard], redis_cluster: RedisCluster
) -> None:
    shard, server = spread(make_shard, redis_cluster)
    with shard.relaying():
        shard.send(20, "r00", "r01")
        await_true(lambda: shard.delivered().total() == 20 and shard.pending() == 0)
        shard.client.xtrim(shard.keys.inbox("r01"), maxlen=0, approximate=False)  # read, and overtaken by others
        shard.client.xadd(shard.keys.inbox("r01"), {"envelope": "of another shard", "copy": 0})
        server.kill()
        server.start_again()
        shard.send(1, "r01", "r02")
        shard.send(1, "r02", "r01")
        await_true(lambda: shard.pending() == 0 and shard.client.xlen(shard.keys.inbox("r01")) == 2)
    assert not any(isinstance(event, ServerForgot) for event in shard.events)


def test_a_relay_finds_the_free_one_of_shards_at_several_servers(
    make_shard: Callable[..., Shard], redis_cluster: RedisCluster
) -> None:
    # Given two shards at two servers, one of which another relay serves
    shard = make_shard(shards=2)
    while redis_cluster.master_of(shard.keys.lease(0)) is redis_cluster.master_of(shard.keys.lease(1)):
        shard = make_shard(shards=2)
    shard.client.set(shard.keys.lease(0), "another")
    shard.send(20, shard=1)
    # When a relay looks for work, then it serves the other
    shard.relay(shards=(0, 1)).run(lambda: True)
    assert shard.delivered().total() == 20
    assert shard.pending(shard=1) == 0


def test_replies_come_in_the_order_of_the_commands_whichever_server_gives_them(redis_cluster: RedisCluster) -> None:
    with connect(redis_cluster.url) as client:
        assert isinstance(client, ClusterClient)
        line = ClusterLine(client, StoredCopies(lambda: None))
        keys = [f"lab:{{{number}}}:in" for number in range(20)]
        home = "lab:{home}:lease"
        line.turn_to(home)
        # When XADDs to many servers stand between commands to the home
        line.send(
            [
                packed
                for number, key in enumerate(keys)
                for packed in (pack(("XADD", key, f"{number + 1}-1", "copy", number)), pack(("APPEND", home, "x")))
            ]
        )
        # Then each reply stands in its place, also when they are fetched in parts
        replies = line.receive(7) + line.receive(33)
        assert replies[::2] == [b"%d-1" % number for number in range(1, 21)]
        assert replies[1::2] == list(range(1, 21))
        # And a refusal is the reply to its own command
        bad, good = line.ask(("XADD", keys[0], "1-1", "copy", 0), ("XADD", keys[1], "*", "copy", 0))
        assert isinstance(bad, ResponseError)
        assert isinstance(good, bytes)
        line.close()
