"""A server that comes back without the last entries: each process that stored some of them notices."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import redis

from broker.control_entries import PlanChange
from broker.envelope import shard_of
from broker.ports.robot import SendResult
from broker.streams.connection import connect, connect_async
from broker.streams.embedded import EmbeddedServer
from broker.streams.relay.driver import RelayDriver
from broker.streams.run import remembered
from broker.streams.run.events import BlockingEventLog, StreamEventLog
from broker.streams.run.fleet_log import StreamFleetLog
from broker.streams.run.remembered import LastStored, is_forgotten
from telemetry.events import ServerForgot
from tests.broker.streams.relay_lab import Shard
from tests.support.port_labs import StreamsLab

pytestmark = pytest.mark.live


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[redis.Redis]:
    with connect(server.url) as client:
        client.delete("stream")
        yield client


def fill(client: redis.Redis, *entries: str) -> None:
    for entry in entries:
        client.xadd("stream", {"field": "value"}, id=entry)


def drop_last(client: redis.Redis, key: str) -> None:
    """As a replica has it that was behind: without the newest entry."""
    [(entry, _)] = client.xrevrange(key, count=1)
    client.xdel(key, entry)


def test_an_entry_is_forgotten_when_older_ones_stand_and_it_does_not(client: redis.Redis) -> None:
    # Given a stream of which the last entry is known / Then nothing is forgotten while it stands
    fill(client, "1-1", "1-2", "1-3")
    assert not is_forgotten(client, "stream", "1-3")
    # nor when it was trimmed with all before it, or the whole stream is gone
    client.xtrim("stream", minid="1-3", approximate=False)
    assert not is_forgotten(client, "stream", "1-2")
    assert not is_forgotten(client, "nothing", "1-2")
    # but when it is gone and older ones are not
    assert is_forgotten(client, "stream", "1-4")


def test_an_entry_is_in_doubt_after_an_error_or_a_pause_and_not_in_steady_traffic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given a process that has stored an entry just now
    last = LastStored()
    assert last.in_doubt is None
    last.stored(b"1-1")
    assert last.in_doubt is None
    # When a write fails / Then the entry is looked for before the next
    last.failed()
    assert last.in_doubt == "1-1"
    last.found(True)
    last.stored(b"1-2")
    assert (last.in_doubt, last.take_forgotten(), last.take_forgotten()) == (None, True, False)
    # and after a pause, too, but not of a stream that is gone
    monkeypatch.setattr(remembered, "PAUSE_S", 0)
    assert last.in_doubt == "1-2"
    last.stored(None)
    assert last.in_doubt is None


def test_who_stores_events_notices_that_the_last_are_gone(
    server: EmbeddedServer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "PAUSE_S", 0)
    fill(client, "1-1")
    # Given a process without an event loop
    log = BlockingEventLog(client, "stream")
    assert log.append(b"one")
    assert log.append(b"two")
    assert not log.take_forgotten()
    # When the server has lost its last batch / Then the next one tells
    drop_last(client, "stream")
    assert log.append(b"three")
    assert log.take_forgotten()

    # And so with one
    async def story() -> bool:
        async with connect_async(server.url) as on_loop:
            events = StreamEventLog(on_loop, "stream")
            assert await events.append(b"one")
            drop_last(client, "stream")
            assert await events.append(b"two")
            return events.take_forgotten()

    assert asyncio.run(story())


def test_a_robot_notices_that_its_last_envelope_is_gone(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "PAUSE_S", 0)
    lab = StreamsLab(server.url, "r00")

    async def story() -> None:
        outbox = lab.life("r00", "one").outbox
        assert [await outbox.send(b"frame") for _ in range(2)] == [SendResult.SENT] * 2
        assert not outbox.take_forgotten()
        lab.forget(lab.keys.outbox(shard_of("r00", 2)), 1)
        assert await outbox.send(b"frame") is SendResult.SENT
        assert outbox.take_forgotten()

    lab.play(story)


def test_a_leader_notices_that_its_orders_changes_and_rows_are_gone(server: EmbeddedServer) -> None:
    # Given a leader who has given an order, a plan change and a row, each the last of its stream
    lab = StreamsLab(server.url, "r00")
    leader, log = lab.run_control, StreamFleetLog(lab.server, lab.run)
    leader.order("go")
    leader.orders()
    leader.change(PlanChange(()))
    log.death("r00", "r00", 1, "signal", -9)
    assert not leader.has_server_forgotten()
    assert not log.has_server_forgotten()
    # When the server loses one of them / Then the leader finds it
    drop_last(lab.server, lab.keys.fleet)
    assert log.has_server_forgotten()
    drop_last(lab.server, lab.keys.orders)
    assert leader.has_server_forgotten()
    leader.order("go")
    leader.orders()
    assert not leader.has_server_forgotten()
    drop_last(lab.server, lab.keys.outbox(1))
    assert leader.has_server_forgotten()
    lab.server.close()


def test_a_relay_notices_that_its_last_fates_are_gone(server: EmbeddedServer) -> None:
    # Given a relay that has decided envelopes, and lost its connection
    shard = Shard(server.url)
    relay = shard.relay()
    decide(shard, relay, 3)
    assert ServerForgot("fates") not in shard.events
    # When the server it comes back to has other fates, older ones alone / Then the relay says so, once
    decide(shard, relay, 3)
    drop_last(shard.client, shard.keys.fates(0))
    for _ in range(2):
        decide(shard, relay, 3)
    assert shard.events.count(ServerForgot("fates")) == 1
    shard.client.close()


def decide(shard: Shard, relay: RelayDriver, envelopes: int) -> None:
    """One session of the relay, from its lease to its end."""
    shard.send(envelopes)
    assert relay.run(lambda: True)
