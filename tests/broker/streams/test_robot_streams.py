"""A robot's streams: replies that a proxy loses, and a server that is away."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
import redis
import redis.asyncio
import redis.exceptions

from broker.control_entries import Birth
from broker.envelope import Garbage, decode
from broker.errors import Unavailable
from broker.ports.robot import Journal, SendResult
from broker.streams.connection import async_twin, connect, connect_async
from broker.streams.embedded import EmbeddedServer
from tests.support.cutting_proxy import CuttingProxy
from tests.support.port_labs import LONG_US, WAIT_US, StreamsLab, exchange_letters, receive_all


@pytest.fixture
def cut_lab(server: EmbeddedServer, proxy: CuttingProxy) -> StreamsLab:
    """A run whose robots reach the server through the proxy."""
    return StreamsLab(server.url, "r00", "r01", through=proxy.url)


@pytest.mark.live
@pytest.mark.parametrize("request_cut", [b"WATCH", b"XREVRANGE", b"EXEC"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_journal_append_is_stored_once_whatever_replies_are_lost(
    cut_lab: StreamsLab, proxy: CuttingProxy, request_cut: bytes, times: int
) -> None:
    async def story() -> None:
        journal = cut_lab.life("r00", "one").journal
        await journal.append(1, [b"born"])
        # When replies to the next append are lost
        proxy.cut(request_cut, times)
        await journal.append(1, [b"x", b"y"])
        assert proxy.cuts >= 1
        await journal.append(1, [b"z"])
        # Then everything stands there once
        assert await journalled(journal) == [b"born", b"x", b"y", b"z"]

    cut_lab.play(story)


@pytest.mark.live
def test_a_birth_is_announced_once_though_the_reply_is_lost(cut_lab: StreamsLab, proxy: CuttingProxy) -> None:
    async def story() -> None:
        proxy.cut(b"XADD")
        await cut_lab.life("r00", "one").register.announce_birth(1)
        assert proxy.cuts == 1
        assert len(cut_lab.evidence.collect().births["r00"] or []) == 1

    cut_lab.play(story)


@pytest.mark.live
@pytest.mark.parametrize("request_cut", [b"WATCH", b"TIME", b"EXEC", b"WAITAOF"])
def test_a_write_whose_reply_is_lost_is_known_to_be_accepted(
    cut_lab: StreamsLab, proxy: CuttingProxy, request_cut: bytes
) -> None:
    async def story() -> None:
        register = cut_lab.life("r00", "one").register
        await register.announce_birth(1)
        proxy.cut(request_cut)
        assert await register.write(b"the secret") is not None
        assert proxy.cuts == 1
        attempts = [row for row in cut_lab.evidence.collect().births["r00"] or [] if row.what == "attempt"]
        assert len(attempts) == 1

    cut_lab.play(story)


@pytest.mark.live
def test_a_refusal_whose_reply_is_lost_is_recorded_once(cut_lab: StreamsLab, proxy: CuttingProxy) -> None:
    async def story() -> None:
        one, two = cut_lab.life("r00", "one").register, cut_lab.life("r01", "two").register
        await one.announce_birth(1)
        await two.announce_birth(1)
        assert await one.write(b"the secret") is not None
        proxy.cut(b"EXEC")
        assert await two.write(b"another") is None
        assert proxy.cuts == 1
        attempts = [row for row in cut_lab.evidence.collect().births["r01"] or [] if row.what == "attempt"]
        assert len(attempts) == 1

    cut_lab.play(story)


@pytest.mark.live
def test_an_envelope_is_never_sent_twice(cut_lab: StreamsLab, proxy: CuttingProxy) -> None:
    async def story() -> None:
        outbox = cut_lab.life("r00", "one").outbox
        assert await outbox.send(b"first") is SendResult.SENT
        # When the reply to a send is lost
        proxy.cut(b"XADD")
        assert await outbox.send(b"second") is SendResult.AWAY
        assert (proxy.cuts, proxy.requests) == (1, 1)
        # Then it stands there once, and later ones go through
        assert await outbox.send(b"third") is SendResult.SENT
        entries = cut_lab.server.xrange(cut_lab.keys.outbox(0))
        assert [fields[b"envelope"] for _, fields in entries[1:]] == [b"first", b"second", b"third"]

    cut_lab.play(story)


@pytest.mark.live
def test_an_announcement_is_repeated_until_it_is_certain(cut_lab: StreamsLab, proxy: CuttingProxy) -> None:
    async def story() -> None:
        proxy.cut(b"XADD", times=2)
        await cut_lab.life("r00", "one").outbox.announce(Birth("r00", 1, "one"))
        assert proxy.requests == 3

    cut_lab.play(story)


@pytest.mark.live
def test_entries_in_a_lost_reply_are_received_after_all(cut_lab: StreamsLab, proxy: CuttingProxy) -> None:
    async def story() -> None:
        # Given a life that acknowledged one entry, and two more in its inbox
        life = cut_lab.life("r00", "one")
        inbox = life.inbox
        cut_lab.deliver("r00", b"one")
        [first] = await inbox.receive(10, WAIT_US)
        inbox.acknowledge(first.entry)
        cut_lab.deliver("r00", b"two")
        cut_lab.deliver("r00", b"three")
        # When the reply that carries them is lost
        proxy.cut(b"XREADGROUP")
        with pytest.raises(Unavailable):
            await inbox.receive(10, WAIT_US)
        # Then they come after all, and the acknowledged one does not
        assert [delivery.frame for delivery in await receive_all(life)] == [b"two", b"three"]

    cut_lab.play(story)


@pytest.mark.live
def test_after_trouble_entries_come_in_portions_that_grow(cut_lab: StreamsLab, proxy: CuttingProxy) -> None:
    async def story() -> None:
        inbox = cut_lab.life("r00", "one").inbox
        for _ in range(10):
            cut_lab.deliver("r00", b"long")
        assert len(await inbox.receive(10, WAIT_US)) == 10
        # When a reply does not come whole (of entries that are too long, say), and that more than once
        for _ in range(2):
            proxy.cut(b"XREADGROUP")
            with pytest.raises(Unavailable):
                await inbox.receive(10, WAIT_US)
            # Then what is pending is asked for in portions, one entry at first
            assert [len(await inbox.receive(10, WAIT_US)) for _ in range(4)] == [1, 2, 4, 3]

    cut_lab.play(story)


@pytest.mark.live
def test_entries_in_a_lost_reply_are_not_counted_as_trimmed(server: EmbeddedServer, proxy: CuttingProxy) -> None:
    lab = StreamsLab(server.url, "r00", through=proxy.url, inbox_limit=100)

    async def story() -> None:
        # Given a reader of an inbox that was trimmed, though never of anything unread
        life = lab.life("r00", "one")
        await exchange_letters(lab, life, 300)
        # When replies with entries are lost, while others are unacknowledged
        for _ in range(3):
            lab.deliver("r00", b"unacknowledged")
            lab.deliver("r00", b"unacknowledged")
            assert len(await life.inbox.receive(10, WAIT_US)) == 2
            lab.deliver("r00", b"doubtful")
            proxy.cut(b"XREADGROUP")
            with pytest.raises(Unavailable):
                await life.inbox.receive(10, WAIT_US)
            await exchange_letters(lab, life, 300)
        # Then nothing counts as lost
        assert life.inbox.lost == 0
        # and the account is right: what is lost later counts exactly
        for _ in range(120):
            lab.deliver("r00", b"late")
        await exchange_letters(lab, life, 300)
        assert life.inbox.lost == 120 + 50 - 100

    lab.play(story)


@pytest.mark.live
def test_an_inbox_that_vanished_is_made_anew_and_its_account_begins_again(server: EmbeddedServer) -> None:
    lab = StreamsLab(server.url, "r00", inbox_limit=100)

    async def story() -> None:
        # Given a reader whose inbox overflowed by ten, and then vanished
        life = lab.life("r00", "one")
        for _ in range(110):
            lab.deliver("r00", b"early")
        await receive_all(life)
        lab.server.delete(lab.keys.inbox("r00"))
        with pytest.raises(Unavailable):
            await life.inbox.receive(10, WAIT_US)
        # When it reads on, and the new one overflows by twenty
        await exchange_letters(lab, life, 300)
        for _ in range(70):
            lab.deliver("r00", b"late")
        await exchange_letters(lab, life, 300)
        # Then all it lost is what overflowed
        assert life.inbox.lost == 10 + 20

    lab.play(story)


@pytest.mark.live
def test_what_was_put_into_an_inbox_by_hand_is_no_trouble(server: EmbeddedServer) -> None:
    lab = StreamsLab(server.url, "r00")

    async def story() -> None:
        # Given entries that no relay would make, and one that is huge
        lab.put_by_hand("r00", {"foreign": b"field"})
        lab.put_by_hand("r00", {"envelope": b"frame", "copy": b"no number"})
        lab.put_by_hand("r00", {"envelope": b"frame", "copy": b"9" * 5000})
        lab.put_by_hand("r00", {"envelope": bytes(15_000_000), "copy": 0})
        lab.deliver("r00", b"honest")
        # When they are read
        received = await receive_all(lab.life("r00", "one"))
        # Then each comes as garbage, none as one that was trimmed; and what is behind them comes too
        assert [len(delivery.frame or b"") for delivery in received] == [0, 0, 0, 15_000_000, len(b"honest")]
        assert all(delivery.frame is not None for delivery in received)
        assert all(isinstance(decode(delivery.frame or b""), Garbage) for delivery in received)

    lab.play(story)


@pytest.mark.live
def test_an_outbox_that_the_server_has_no_memory_for_is_full(server: EmbeddedServer) -> None:
    lab = StreamsLab(server.url, "r00")

    async def story() -> None:
        outbox = lab.life("r00", "one").outbox
        lab.server.config_set("maxmemory", 1)
        try:
            assert await outbox.send(b"frame") is SendResult.FULL
        finally:
            lab.server.config_set("maxmemory", 0)
        assert await outbox.send(b"frame") is SendResult.SENT

    lab.play(story)


@pytest.mark.live
def test_entries_of_an_abandoned_receive_are_received_after_all(server: EmbeddedServer) -> None:
    lab = StreamsLab(server.url, "r00")

    async def story() -> None:
        # Given a reader that is cancelled while it waits
        inbox = lab.life("r00", "one").inbox
        assert await inbox.receive(10, 0) == []
        reader = asyncio.ensure_future(inbox.receive(10, LONG_US))
        while not any(client["cmd"] == "xreadgroup" for client in lab.server.client_list() if "b" in client["flags"]):
            await asyncio.sleep(0.001)
        lab.deliver("r00", b"one")  # its reply is on the way
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        # Then the entry is not forgotten
        assert [delivery.frame for delivery in await inbox.receive(10, WAIT_US)] == [b"one"]

    lab.play(story)


@pytest.fixture
def impatient_lab(server: EmbeddedServer, proxy: CuttingProxy) -> StreamsLab:
    """The same, where no port tries twice."""
    return StreamsLab(server.url, "r00", through=proxy.url, retry_s=0.0)


async def doubtful_append(lab: StreamsLab, proxy: CuttingProxy, request_cut: bytes) -> Journal:
    """A journal whose append of `x` ended in doubt."""
    journal = lab.life("r00", "one").journal
    await journal.append(1, [b"born"])
    proxy.cut(request_cut)
    with pytest.raises(Unavailable):
        await journal.append(1, [b"x"])
    return journal


async def journalled(journal: Journal) -> list[bytes]:
    """What a life has journalled behind what was dealt."""
    return [row.content for row in await journal.replay()][2:]


@pytest.mark.live
def test_a_doubtful_append_may_be_repeated(impatient_lab: StreamsLab, proxy: CuttingProxy) -> None:
    async def story() -> None:
        # Given an append that ended in doubt, though it was stored
        journal = await doubtful_append(impatient_lab, proxy, b"EXEC")
        # When the caller makes it again
        await journal.append(1, [b"x"])
        # Then it is stored once
        assert await journalled(journal) == [b"born", b"x"]

    impatient_lab.play(story)


@pytest.mark.live
def test_a_replay_knows_what_an_append_in_doubt_meant_to_store(impatient_lab: StreamsLab, proxy: CuttingProxy) -> None:
    async def story() -> None:
        # Given an append whose request was lost, and whose caller will not make it again
        journal = await doubtful_append(impatient_lab, proxy, b"WATCH")
        # When a successor asks what is journalled, it is there, once, whatever comes next
        assert await journalled(journal) == [b"born", b"x"]
        await journal.append(1, [b"y"])
        assert await journalled(journal) == [b"born", b"x", b"y"]

    impatient_lab.play(story)


@pytest.mark.live
def test_the_usual_retry_would_store_twice_and_ours_does_not(server: EmbeddedServer, proxy: CuttingProxy) -> None:
    path = proxy.url.removeprefix("unix://")

    async def entries_after_async(client: redis.asyncio.Redis, key: str) -> int:
        proxy.cut(b"XADD")
        with suppress(redis.exceptions.ConnectionError):
            await client.xadd(key, {"a": 1})
        length = await client.xlen(key)
        await client.aclose()
        return int(length)

    def entries_after(client: redis.Redis, key: str) -> int:
        proxy.cut(b"XADD")
        with suppress(redis.exceptions.ConnectionError):
            client.xadd(key, {"a": 1})
        with client:
            return int(client.xlen(key))

    async def both_async() -> tuple[int, int]:
        usual = await entries_after_async(redis.asyncio.Redis(unix_socket_path=path), "usual async")
        return usual, await entries_after_async(connect_async(proxy.url), "ours async")

    assert entries_after(redis.Redis(unix_socket_path=path), "usual") == 2
    assert entries_after(connect(proxy.url), "ours") == 1
    assert asyncio.run(both_async()) == (2, 1)


@pytest.mark.live
def test_an_async_twin_reaches_the_same_server_with_our_rules(proxy: CuttingProxy) -> None:
    # Given a client as a job finds it: redis-py's own, with its retries
    client = redis.Redis(unix_socket_path=proxy.url.removeprefix("unix://"))

    async def story() -> None:
        twin = async_twin(client)
        proxy.cut(b"XADD")
        with pytest.raises(redis.exceptions.ConnectionError):
            await twin.xadd("twin", {"a": 1})
        await twin.aclose()

    asyncio.run(story())
    with client:
        assert client.xlen("twin") == 1


@pytest.mark.live
def test_a_server_that_is_away_is_a_value_or_unavailable(server: EmbeddedServer, tmp_path: Path) -> None:
    lab = StreamsLab(server.url, "r00", through=f"unix://{tmp_path}/absent.sock", retry_s=0.05)

    async def story() -> None:
        ports = lab.life("r00", "one")
        assert await ports.outbox.send(b"frame") is SendResult.AWAY
        assert not await lab.event_log().append(b"batch")
        for refused in (
            ports.outbox.announce(Birth("r00", 1, "one")),
            ports.inbox.receive(1, 0),
            ports.journal.replay(),
            ports.journal.append(1, [b"born"]),
            ports.register.announce_birth(1),
            ports.register.write(b"the secret"),
            ports.orders.read(0),
        ):
            with pytest.raises(Unavailable):
                await refused

    lab.play(story)
