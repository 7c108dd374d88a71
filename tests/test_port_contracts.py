"""What every driver of the ports promises: one suite, over memory and over streams on a real server.

The second half is about streams alone: replies that a proxy loses, and a server that is away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
import redis.asyncio
import redis.exceptions
from cutting_proxy import CuttingProxy

from broker.control_entries import Birth, PlanChange, Planned, encode_control
from broker.envelope import Garbage, decode
from broker.errors import Fenced, JournalLost, RegisterLost, RunGone, Unavailable
from broker.memory.run_control import MemoryDesk, MemoryFleetLog
from broker.memory.server import MemoryEventSource, MemoryServer, memory_ports
from broker.ports.robot import Death, Deed, Delivery, Journal, JournalRow, Ports, Sending
from broker.ports.run import Dealing, FleetLog
from broker.relay.core import Copy, parse_id
from broker.streams.connection import async_twin, connect, connect_async
from broker.streams.embedded import EmbeddedServer
from broker.streams.keys import Keys
from broker.streams.robot.ports import ports_for
from broker.streams.run import injection as deeds
from broker.streams.run.control import StreamDesk
from broker.streams.run.events import StreamEventSource
from broker.streams.run.fleet_log import StreamFleetLog, last_incarnation
from broker.streams.run.runs import StreamRuns
from broker.streams.run.supervisor_lease import SupervisorLease
from telemetry.clock import SystemClock
from telemetry.events import RobotStarted, Stamped
from telemetry.stream.feed import EventFeed, EventSource
from telemetry.stream.publisher import encode_events

PLAN = PlanChange((Planned(0, "loss 0.5"),))
WAIT_US = 20_000
LONG_US = 2_000_000

_runs = count()


def dealing(run: str, robots: tuple[str, ...]) -> Dealing:
    return Dealing(run, 2, PLAN, {robot: [b"header", b"part of " + robot.encode()] for robot in robots}, b"terms")


class MemoryLab:
    """A run in memory, and the hands of fate on it."""

    def __init__(self, *robots: str, outbox_limit: int = 1000, inbox_limit: int = 1000) -> None:
        self._server = MemoryServer(SystemClock(), outbox_limit, inbox_limit)
        self.desk = MemoryDesk(self._server)
        self.desk.deal(dealing("run", robots))

    def life(self, robot: str, nonce: str) -> Ports:
        return memory_ports(self._server, robot, nonce)

    def deliver(self, robot: str, frame: bytes, number: int = 0) -> None:
        self._server.deliver(Copy((1, 1), number, robot, frame, 0))

    def trim_inbox(self, robot: str) -> None:
        self._server.trim_inbox(robot)

    def event_source(self, keep: int | None = None) -> EventSource:
        return MemoryEventSource(self._server, keep)

    def fleet_log(self) -> FleetLog:
        return MemoryFleetLog(self._server)

    def lose_journal(self, robot: str) -> None:
        del self._server.journals[robot]

    def lose_register(self) -> None:
        self._server.register = None

    def tell(self, story: Callable[[], Awaitable[None]]) -> None:
        async def whole() -> None:
            await story()

        asyncio.run(whole())


class StreamsLab:
    """The same over streams."""

    def __init__(
        self,
        url: str,
        *robots: str,
        outbox_limit: int = 1000,
        inbox_limit: int = 1000,
        through: str | None = None,
        patience_s: float = 5.0,
    ) -> None:
        self.run = f"t{next(_runs)}"
        self.keys = Keys(self.run)
        self.server = connect(url)
        self.desk = StreamDesk(self.server, self.run)
        self.desk.deal(dealing(self.run, robots))
        self._url = through or url
        self._outbox_limit = outbox_limit
        self._inbox_limit = inbox_limit
        self._patience_s = patience_s
        self._clients: list[redis.asyncio.Redis] = []

    def life(self, robot: str, nonce: str) -> Ports:
        client = connect_async(self._url)
        self._clients.append(client)
        return ports_for(
            client, self.run, robot, nonce, 2, outbox_limit=self._outbox_limit, patience_s=self._patience_s
        )

    def deliver(self, robot: str, frame: bytes, number: int = 0) -> None:
        self.put_by_hand(robot, {"e": frame, "c": number})

    def put_by_hand(self, robot: str, fields: dict[str, bytes | int]) -> None:
        self.server.xadd(self.keys.inbox(robot), fields, maxlen=self._inbox_limit, approximate=False)

    def trim_inbox(self, robot: str) -> None:
        self.server.xtrim(self.keys.inbox(robot), maxlen=0, approximate=False)

    def event_source(self, keep: int | None = None) -> EventSource:
        return StreamEventSource(self.server, self.keys.events, keep)

    def fleet_log(self) -> FleetLog:
        return StreamFleetLog(self.server, self.run)

    def lose_journal(self, robot: str) -> None:
        self.server.delete(self.keys.journal(robot))

    def lose_register(self) -> None:
        self.server.delete(self.keys.register)

    def tell(self, story: Callable[[], Awaitable[None]]) -> None:
        async def whole() -> None:
            try:
                await story()
            finally:
                for client in self._clients:
                    await client.aclose()

        try:
            asyncio.run(whole())
        finally:
            self.server.close()


Lab = MemoryLab | StreamsLab
MakeLab = Callable[..., Lab]


@pytest.fixture(params=["memory", pytest.param("streams", marks=pytest.mark.live)])
def make_lab(request: pytest.FixtureRequest) -> MakeLab:
    if request.param == "memory":
        return MemoryLab
    url = request.getfixturevalue("server").url
    return lambda *robots, **options: StreamsLab(url, *robots, **options)


@pytest.fixture
def proxy(server: EmbeddedServer) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(server.folder / "redis.sock", server.folder / f"proxy{next(_runs)}.sock")
    yield proxy
    proxy.close()


async def receive_all(ports: Ports, limit: int = 10) -> list[Delivery]:
    """Everything there is now: asks until nothing comes."""
    received: list[Delivery] = []
    while batch := await ports.inbox.receive(limit, WAIT_US):
        received += batch
    return received


# Inbox


def test_what_was_not_acknowledged_comes_again_to_the_next_life(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        # Given a life that received three entries and acknowledged the second
        for frame in (b"one", b"two", b"three"):
            lab.deliver("r00", frame)
        first = lab.life("r00", "first")
        received = await receive_all(first)
        assert [delivery.frame for delivery in received] == [b"one", b"two", b"three"]
        first.inbox.acknowledge(received[1].entry)
        await first.inbox.flush()
        lab.deliver("r00", b"four")
        # When the next life reads, one entry at a time
        second = await receive_all(lab.life("r00", "second"), limit=1)
        # Then it gets the other two under their own ids, and then what is new
        assert second[:2] == [received[0], received[2]]
        assert [delivery.frame for delivery in second] == [b"one", b"three", b"four"]

    lab.tell(story)


def test_acknowledgements_travel_with_the_next_receive(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        # Given an entry received and acknowledged, without a flush
        lab.deliver("r00", b"one")
        first = lab.life("r00", "first")
        for delivery in await receive_all(first):
            first.inbox.acknowledge(delivery.entry)
        # When the same life receives once more
        assert await first.inbox.receive(10, 0) == []
        # Then no later life gets it
        assert await receive_all(lab.life("r00", "second")) == []

    lab.tell(story)


def test_a_copy_keeps_its_number(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        lab.deliver("r00", b"twice", 0)
        lab.deliver("r00", b"twice", 1)
        received = await receive_all(lab.life("r00", "first"))
        assert [delivery.copy for delivery in received] == [0, 1]

    lab.tell(story)


def test_a_waiting_reader_is_woken_by_an_arrival(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        # Given a reader that is willing to wait for long
        reader = asyncio.ensure_future(lab.life("r00", "first").inbox.receive(10, LONG_US))
        await asyncio.sleep(0)
        # When something arrives
        lab.deliver("r00", b"one")
        # Then it comes, without all the waiting
        [delivery] = await asyncio.wait_for(reader, 1.5)
        assert delivery.frame == b"one"

    lab.tell(story)


def test_a_trimmed_entry_comes_without_its_frame(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        # Given an entry that a life has received, and that was trimmed then
        lab.deliver("r00", b"one")
        [received] = await receive_all(lab.life("r00", "first"))
        lab.trim_inbox("r00")
        # When the next life reads what is pending
        [trimmed] = await receive_all(lab.life("r00", "second"))
        # Then it learns which entry it was, and that its content is gone
        assert (trimmed.entry, trimmed.frame) == (received.entry, None)

    lab.tell(story)


async def exchange_letters(lab: Lab, reader: Ports, number: int) -> None:
    """Let so many entries come, and be read and acknowledged soon enough."""
    for _ in range(0, number, 50):
        for _ in range(50):
            lab.deliver("r00", b"soon read")
        while batch := await reader.inbox.receive(64, 0):
            for delivery in batch:
                reader.inbox.acknowledge(delivery.entry)


def test_what_an_inbox_lost_is_counted_exactly(make_lab: MakeLab) -> None:
    lab = make_lab("r00", inbox_limit=100)

    async def story() -> None:
        # Given a reader of more than the inbox holds, so that what it has read was trimmed
        reader = lab.life("r00", "first")
        await exchange_letters(lab, reader, 300)
        assert reader.inbox.lost == 0
        # When it reads nothing for a while, twice, and reads on each time
        for late in (250, 333):
            for _ in range(late):
                lab.deliver("r00", b"late")
            await exchange_letters(lab, reader, 300)
        # Then it knows how many it never got,
        assert reader.inbox.lost == (250 + 50 - 100) + (333 + 50 - 100)
        # and a later life begins a new account
        heir = lab.life("r00", "second")
        assert await receive_all(heir) == []
        await exchange_letters(lab, heir, 300)
        assert heir.inbox.lost == 0

    lab.tell(story)


def test_what_was_lost_before_a_life_reads_is_its_loss(make_lab: MakeLab) -> None:
    lab = make_lab("r00", inbox_limit=100)

    async def story() -> None:
        # Given an inbox that overflowed before anybody read it
        for _ in range(130):
            lab.deliver("r00", b"early")
        # When the first life reads, then it knows at once
        first = lab.life("r00", "first")
        for delivery in await receive_all(first):
            first.inbox.acknowledge(delivery.entry)
        assert first.inbox.lost == 30
        # When the inbox overflows between two lives, then the second knows of that alone
        await first.inbox.flush()
        for _ in range(107):
            lab.deliver("r00", b"in between")
        second = lab.life("r00", "second")
        await receive_all(second)
        assert second.inbox.lost == 7

    lab.tell(story)


def test_an_overflow_takes_the_content_of_what_was_handed_out_before(make_lab: MakeLab) -> None:
    lab = make_lab("r00", inbox_limit=100)

    async def story() -> None:
        # Given an entry that was received and not acknowledged
        lab.deliver("r00", b"one")
        [received] = await receive_all(lab.life("r00", "first"))
        # When the inbox overflows
        for _ in range(101):
            lab.deliver("r00", b"more")
        # Then the next life gets it without content, and it does not count as never read
        heir = lab.life("r00", "second")
        assert (await receive_all(heir))[0] == Delivery(received.entry, 0, None)
        assert heir.inbox.lost == 1

    lab.tell(story)


# Outbox


def test_a_full_outbox_refuses(make_lab: MakeLab) -> None:
    lab = make_lab("r00", outbox_limit=3)  # the plan is an entry already

    async def story() -> None:
        outbox = lab.life("r00", "first").outbox
        assert [await outbox.send(b"frame") for _ in range(4)] == [Sending.SENT] * 2 + [Sending.FULL] * 2
        assert lab.desk.collect().outboxes[0].added == 3

    lab.tell(story)


def test_robots_write_to_the_outbox_of_their_shard(make_lab: MakeLab) -> None:
    lab = make_lab("r00", "r01")

    async def story() -> None:
        # When robots 0 and 1 of a run with two shards send, and one announces its birth
        assert await lab.life("r00", "a").outbox.send(b"frame") is Sending.SENT
        assert await lab.life("r01", "b").outbox.send(b"frame") is Sending.SENT
        await lab.life("r01", "b").outbox.announce(Birth("r01", 1, "b"))
        # Then each outbox holds the plan and what its own robots wrote
        outboxes = lab.desk.collect().outboxes
        assert (outboxes[0].added, outboxes[1].added) == (2, 3)

    lab.tell(story)


# Journal


def test_a_journal_replays_in_order_across_lives(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        # Given two lives that wrote, one after the other
        first = lab.life("r00", "first").journal
        await first.append(1, [b"born"])
        await first.append(1, [b"x", b"x"])
        await first.append(1, [b"x"])
        await lab.life("r00", "second").journal.append(2, [b"born"])
        # Then the next one reads everything, numbered by life
        assert await lab.life("r00", "third").journal.replay() == [
            JournalRow(0, 1, b"header"),
            JournalRow(0, 2, b"part of r00"),
            JournalRow(1, 1, b"born"),
            JournalRow(1, 2, b"x"),
            JournalRow(1, 3, b"x"),
            JournalRow(1, 4, b"x"),
            JournalRow(2, 1, b"born"),
        ]

    lab.tell(story)


def test_an_older_life_cannot_append(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        # Given a life that wrote, and its successor
        old = lab.life("r00", "old").journal
        await old.append(1, [b"born"])
        await lab.life("r00", "new").journal.append(2, [b"born"])
        before = await old.replay()
        # When the old one writes on, then it is fenced and nothing is stored
        with pytest.raises(Fenced):
            await old.append(1, [b"late"])
        assert await old.replay() == before

    lab.tell(story)


def test_two_lives_cannot_claim_the_same_incarnation(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        lives = [lab.life("r00", f"n{number}").journal for number in range(5)]
        # When five lives claim incarnation 1 at the same time, with the same content
        outcomes = await asyncio.gather(*(life.append(1, [b"born"]) for life in lives), return_exceptions=True)
        # Then one has it, and the others are fenced
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Fenced"] * 4 + ["NoneType"]
        assert len(await lives[0].replay()) == 3

    lab.tell(story)


def test_a_lost_journal_is_never_made_anew(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        # Given a life whose journal vanishes
        journal = lab.life("r00", "first").journal
        await journal.append(1, [b"born"])
        lab.lose_journal("r00")
        # Then neither it nor a later life can go on
        with pytest.raises(JournalLost):
            await journal.append(1, [b"x"])
        with pytest.raises(JournalLost):
            await lab.life("r00", "second").journal.append(2, [b"born"])
        with pytest.raises(JournalLost):
            await journal.replay()
        assert lab.desk.collect().journals["r00"] is None

    lab.tell(story)


# Births and register


def test_the_register_is_written_once(make_lab: MakeLab) -> None:
    lab = make_lab("r00", "r01")

    async def story() -> None:
        one, two = lab.life("r00", "one").register, lab.life("r01", "two").register
        await one.announce_birth(1)
        await two.announce_birth(3)
        # When one robot writes, and then another
        assert await one.write(b"the secret") in {"aof", "replica", "memory"}
        assert await two.write(b"another") is None
        # Then the first one's secret stands, and both attempts are recorded with their times
        evidence = lab.desk.collect()
        assert evidence.register is not None
        assert (evidence.register.robot, evidence.register.incarnation) == ("r00", 1)
        assert (evidence.register.nonce, evidence.register.secret) == ("one", b"the secret")
        for robot, nonce, born in (("r00", "one", "1-1"), ("r01", "two", "3-1")):
            rows = evidence.births[robot]
            assert rows is not None
            assert [(row.what, row.nonce) for row in rows] == [("born", nonce), ("attempt", nonce)]
            assert rows[0].entry == born
            assert rows[0].at_us is None
            assert rows[1].at_us is not None

    lab.tell(story)


def test_of_twenty_concurrent_writers_one_is_accepted(make_lab: MakeLab) -> None:
    robots = tuple(f"r{number:02d}" for number in range(20))
    lab = make_lab(*robots)

    async def story() -> None:
        registers = [lab.life(robot, f"nonce {robot}").register for robot in robots]
        for register in registers:
            await register.announce_birth(1)
        # When all write at once
        outcomes = await asyncio.gather(*(register.write(b"the secret") for register in registers))
        # Then one is accepted, and every attempt is recorded
        assert sum(outcome is not None for outcome in outcomes) == 1
        evidence = lab.desk.collect()
        attempts = [row for rows in evidence.births.values() for row in rows or () if row.what == "attempt"]
        assert len(attempts) == 20
        assert evidence.register is not None
        assert outcomes[robots.index(evidence.register.robot)] is not None

    lab.tell(story)


def test_a_zombie_cannot_write(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        # Given a life and its successor
        zombie, heir = lab.life("r00", "zombie").register, lab.life("r00", "heir").register
        await zombie.announce_birth(1)
        await heir.announce_birth(2)
        # When the zombie writes, then it is fenced; and the register is still free for its successor
        with pytest.raises(Fenced):
            await zombie.write(b"stale secret")
        assert await heir.write(b"the secret") is not None

    lab.tell(story)


def test_a_birth_that_comes_too_late_is_fenced(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        await lab.life("r00", "two").register.announce_birth(2)
        for incarnation in (1, 2):
            with pytest.raises(Fenced):
                await lab.life("r00", "late").register.announce_birth(incarnation)

    lab.tell(story)


def test_a_birth_may_be_announced_again_by_the_same_life(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        register = lab.life("r00", "one").register
        await register.announce_birth(1)
        await register.announce_birth(1)
        assert len(lab.desk.collect().births["r00"] or []) == 1

    lab.tell(story)


def test_a_lost_register_is_never_made_anew(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        register = lab.life("r00", "one").register
        await register.announce_birth(1)
        lab.lose_register()
        for _ in range(2):
            with pytest.raises(RegisterLost):
                await register.write(b"the secret")
        evidence = lab.desk.collect()
        assert (evidence.register_exists, evidence.register) == (False, None)

    lab.tell(story)


# Orders, events, desk


def test_orders_come_in_order_to_late_readers_too(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        # Given a reader from the start
        early = lab.life("r00", "early").orders
        [dealt] = await early.read(WAIT_US)
        assert (dealt.order, dealt.content) == ("dealt", b"terms")
        assert await early.read(0) == []
        # When orders are given
        lab.desk.order("go")
        lab.desk.order("stop", b"complete")
        # Then it gets them once, and a late reader gets all of them
        late = await lab.life("r00", "late").orders.read(WAIT_US)
        assert [(order.order, order.content) for order in late] == [
            ("dealt", b"terms"),
            ("go", b""),
            ("stop", b"complete"),
        ]
        assert await early.read(WAIT_US) == late[1:]
        assert lab.desk.collect().orders == late

    lab.tell(story)


def test_a_robot_that_joins_has_all_that_a_dealt_one_has_and_is_told_to_everybody_once(make_lab: MakeLab) -> None:
    lab = make_lab("r00", "r01")

    async def story() -> None:
        # Given a run of two robots, and its desk's orders so far
        assert [order.order for order in lab.desk.orders()] == ["dealt"]
        # When a third one joins, and is let in once more
        for _ in range(2):
            lab.desk.admit("r02", [b"joined"])
        # Then the desk hears of it once, and a life of it can be born, send and receive
        assert [(order.order, order.content) for order in lab.desk.orders()] == [("joined", b"r02")]
        assert lab.desk.orders() == []
        life = lab.life("r02", "first")
        assert await life.journal.replay() == [JournalRow(0, 1, b"joined")]
        await life.journal.append(1, [b"born"])
        await life.register.announce_birth(1)
        assert await life.outbox.send(b"frame") is Sending.SENT
        lab.deliver("r02", b"copy")
        assert [delivery.frame for delivery in await life.inbox.receive(10, WAIT_US)] == [b"copy"]
        # and the evidence tells of all three
        evidence = lab.desk.collect()
        assert list(evidence.journals) == list(evidence.births) == ["r00", "r01", "r02"]
        assert evidence.inboxes["r02"].added == 1

    lab.tell(story)


def test_deeds_and_deaths_stand_in_one_order_for_everybody(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        # Given a run in which nothing befell the fleet yet
        parent, worker, life = lab.fleet_log(), lab.fleet_log(), lab.life("r00", "first")
        assert await life.fleet.rows() == parent.rows() == lab.desk.collect().fleet == []
        # When two tell of a deed and of deaths
        parent.deed("kill robot", "r00")
        worker.death("r00", "r00", 1, "signal", -9)
        parent.death("relay:1", "", 0, "exit", 3)
        # Then a life, both of them and the evidence have the same rows, dated in that order
        rows = await life.fleet.rows()
        deed, death, other = rows
        assert rows == parent.rows() == worker.rows() == lab.desk.collect().fleet
        assert deed == Deed(deed.entry, "kill robot", "r00")
        assert death == Death(death.entry, "r00", "r00", 1, "signal", -9)
        assert other == Death(other.entry, "relay:1", "", 0, "exit", 3)
        dates = [parse_id(row.entry) for row in rows]
        assert dates == sorted(set(dates))

    lab.tell(story)


def test_every_reader_of_events_gets_each_batch_once_and_in_order(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        # Given batches, and a reader of them
        events, early = lab.life("r00", "one").events, lab.event_source()
        for batch in (b"one", b"two"):
            assert await events.append(batch)
        assert early.read() == [b"one", b"two"]
        assert early.read() == []
        # When another batch comes, then it gets that alone, and a late reader all
        assert await events.append(b"three")
        assert early.read() == [b"three"]
        assert lab.event_source().read() == [b"one", b"two", b"three"]

    lab.tell(story)


def test_the_recorder_forgets_events_that_it_has_read_except_the_newest(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        # Given a recorder that keeps a hundred batches for others, and a watcher that was there early
        events, recorder, early = lab.life("r00", "one").events, lab.event_source(keep=100), lab.event_source()
        batches = [encode_events([Stamped("run", "r00", 1, n, 0, 0, RobotStarted())]) for n in range(1, 1001)]
        await events.append(batches[0])
        watcher = EventFeed(early)
        assert len(list(watcher.read())) == 1
        # When a thousand come
        recorded = []
        for batch in batches[1:]:
            await events.append(batch)
            recorded += recorder.read()
        # Then it got all of them, and about the newest hundred are left for a reader that joins now
        assert recorded == batches
        left = lab.event_source().read()
        assert 100 <= len(left) <= 300
        assert left == batches[-len(left) :]
        # and a watcher that fell behind notices how many it missed
        assert len(list(watcher.read())) == len(left)
        assert watcher.missed == 999 - len(left)

    lab.tell(story)


def test_events_that_the_recorder_has_not_read_are_never_forgotten(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        # Given a recorder that keeps ten batches, and stays away while five hundred come
        events, recorder = lab.life("r00", "one").events, lab.event_source(keep=10)
        batches = [b"batch %d" % number for number in range(500)]
        for batch in batches:
            await events.append(batch)
        # When it reads again, then none of them is missing
        assert recorder.read() == batches

    lab.tell(story)


def test_a_fresh_deal_is_all_the_evidence_there_is(make_lab: MakeLab) -> None:
    lab = make_lab("r00", "r01")

    async def story() -> None:
        evidence = lab.desk.collect()
        assert evidence.journals["r01"] == [JournalRow(0, 1, b"header"), JournalRow(0, 2, b"part of r01")]
        assert evidence.births == {"r00": [], "r01": []}
        assert (evidence.register_exists, evidence.register) == (True, None)
        assert {shard: outbox.added for shard, outbox in evidence.outboxes.items()} == {0: 1, 1: 1}
        assert evidence.controls == {0: [], 1: []}
        assert evidence.fates == {0: [], 1: []}

    lab.tell(story)


# Streams alone: lost replies


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

    cut_lab.tell(story)


@pytest.mark.live
def test_a_birth_is_announced_once_though_the_reply_is_lost(cut_lab: StreamsLab, proxy: CuttingProxy) -> None:
    async def story() -> None:
        proxy.cut(b"XADD")
        await cut_lab.life("r00", "one").register.announce_birth(1)
        assert proxy.cuts == 1
        assert len(cut_lab.desk.collect().births["r00"] or []) == 1

    cut_lab.tell(story)


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
        attempts = [row for row in cut_lab.desk.collect().births["r00"] or [] if row.what == "attempt"]
        assert len(attempts) == 1

    cut_lab.tell(story)


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
        attempts = [row for row in cut_lab.desk.collect().births["r01"] or [] if row.what == "attempt"]
        assert len(attempts) == 1

    cut_lab.tell(story)


@pytest.mark.live
def test_an_envelope_is_never_sent_twice(cut_lab: StreamsLab, proxy: CuttingProxy) -> None:
    async def story() -> None:
        outbox = cut_lab.life("r00", "one").outbox
        assert await outbox.send(b"first") is Sending.SENT
        # When the reply to a send is lost
        proxy.cut(b"XADD")
        assert await outbox.send(b"second") is Sending.AWAY
        assert (proxy.cuts, proxy.requests) == (1, 1)
        # Then it stands there once, and later ones go through
        assert await outbox.send(b"third") is Sending.SENT
        entries = cut_lab.server.xrange(cut_lab.keys.outbox(0))
        assert [fields[b"e"] for _, fields in entries[1:]] == [b"first", b"second", b"third"]

    cut_lab.tell(story)


@pytest.mark.live
def test_an_announcement_is_repeated_until_it_is_certain(cut_lab: StreamsLab, proxy: CuttingProxy) -> None:
    async def story() -> None:
        proxy.cut(b"XADD", times=2)
        await cut_lab.life("r00", "one").outbox.announce(Birth("r00", 1, "one"))
        assert proxy.requests == 3

    cut_lab.tell(story)


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

    cut_lab.tell(story)


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

    cut_lab.tell(story)


@pytest.mark.live
def test_entries_in_a_lost_reply_are_not_counted_as_trimmed(server: EmbeddedServer, proxy: CuttingProxy) -> None:
    lab = StreamsLab(server.url, "r00", through=proxy.url, inbox_limit=100)

    async def story() -> None:
        # Given a reader of an inbox that was trimmed, though never of anything unread
        life = lab.life("r00", "one")
        await exchange_letters(lab, life, 300)
        # When replies with entries are lost, while others are in hand
        for _ in range(3):
            lab.deliver("r00", b"in hand")
            lab.deliver("r00", b"in hand")
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

    lab.tell(story)


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

    lab.tell(story)


@pytest.mark.live
def test_what_was_put_into_an_inbox_by_hand_is_no_trouble(server: EmbeddedServer) -> None:
    lab = StreamsLab(server.url, "r00")

    async def story() -> None:
        # Given entries that no relay would make, and one that is huge
        lab.put_by_hand("r00", {"foreign": b"field"})
        lab.put_by_hand("r00", {"e": b"frame", "c": b"no number"})
        lab.put_by_hand("r00", {"e": b"frame", "c": b"9" * 5000})
        lab.put_by_hand("r00", {"e": bytes(15_000_000), "c": 0})
        lab.deliver("r00", b"honest")
        # When they are read
        received = await receive_all(lab.life("r00", "one"))
        # Then each comes as garbage, none as one that was trimmed; and what is behind them comes too
        assert [len(delivery.frame or b"") for delivery in received] == [0, 0, 0, 15_000_000, len(b"honest")]
        assert all(delivery.frame is not None for delivery in received)
        assert all(isinstance(decode(delivery.frame or b""), Garbage) for delivery in received)

    lab.tell(story)


@pytest.mark.live
def test_an_outbox_that_the_server_has_no_memory_for_is_full(server: EmbeddedServer) -> None:
    lab = StreamsLab(server.url, "r00")

    async def story() -> None:
        outbox = lab.life("r00", "one").outbox
        lab.server.config_set("maxmemory", 1)
        try:
            assert await outbox.send(b"frame") is Sending.FULL
        finally:
            lab.server.config_set("maxmemory", 0)
        assert await outbox.send(b"frame") is Sending.SENT

    lab.tell(story)


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

    lab.tell(story)


@pytest.mark.live
def test_a_journal_that_came_back_without_its_tail_gets_it_again(server: EmbeddedServer) -> None:
    lab = StreamsLab(server.url, "r00")

    async def story() -> None:
        # Given a server that forgot this life's last two entries
        journal = lab.life("r00", "one").journal
        await journal.append(1, [b"born"])
        kept = lab.server.dump(lab.keys.journal("r00"))
        await journal.append(1, [b"x", b"y"])
        lab.server.restore(lab.keys.journal("r00"), 0, kept, replace=True)
        # When it appends
        await journal.append(1, [b"z"])
        # Then the missing ones are there again, under their own numbers
        rows = await journal.replay()
        assert [(row.number, row.content) for row in rows[2:]] == [(1, b"born"), (2, b"x"), (3, b"y"), (4, b"z")]

    lab.tell(story)


@pytest.fixture
def impatient_lab(server: EmbeddedServer, proxy: CuttingProxy) -> StreamsLab:
    """The same, where no port tries twice."""
    return StreamsLab(server.url, "r00", through=proxy.url, patience_s=0.0)


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

    impatient_lab.tell(story)


@pytest.mark.live
def test_a_replay_knows_what_an_append_in_doubt_meant_to_store(impatient_lab: StreamsLab, proxy: CuttingProxy) -> None:
    async def story() -> None:
        # Given an append whose request was lost, and whose caller will not make it again
        journal = await doubtful_append(impatient_lab, proxy, b"WATCH")
        # When a successor asks what is journalled, it is there, once, whatever comes next
        assert await journalled(journal) == [b"born", b"x"]
        await journal.append(1, [b"y"])
        assert await journalled(journal) == [b"born", b"x", b"y"]

    impatient_lab.tell(story)


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
    lab = StreamsLab(server.url, "r00", through=f"unix://{tmp_path}/nobody.sock", patience_s=0.05)

    async def story() -> None:
        ports = lab.life("r00", "one")
        assert await ports.outbox.send(b"frame") is Sending.AWAY
        assert not await ports.events.append(b"batch")
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

    lab.tell(story)


@pytest.mark.live
def test_a_plan_change_for_an_outbox_that_is_lost_is_not_taken_for_done(server: EmbeddedServer) -> None:
    lab = StreamsLab(server.url, "r00")
    lab.server.delete(lab.keys.outbox(1))

    for insist in (True, False):
        with pytest.raises(Unavailable, match=r"plan: .* is gone"):
            lab.desk.change(PLAN, insist)

    assert not lab.server.exists(lab.keys.outbox(1))
    lab.server.close()


@pytest.mark.live
def test_what_is_no_control_entry_is_not_collected_as_one(server: EmbeddedServer) -> None:
    lab = StreamsLab(server.url, "r00")
    control = lab.keys.control(0)
    lab.server.xadd(control, {"x": encode_control(PLAN)}, id="1-1")
    for number, fields in enumerate(({"x": b"garbage"}, {"what": b"is this"}, {"x": b""}), start=2):
        lab.server.xadd(control, dict[Any, Any](fields), id=f"1-{number}")

    assert lab.desk.collect().controls == {0: [("1-1", PLAN)], 1: []}
    lab.server.close()


@pytest.mark.live
def test_a_run_that_is_gone_is_told_as_gone_and_is_not_begun_anew(server: EmbeddedServer) -> None:
    # Given a run whose server came back empty
    lab = StreamsLab(server.url, "r00")
    lab.server.delete(lab.keys.orders)

    # When somebody asks for orders, gives one, or wants to supervise / Then it is gone, and stays so
    for act in (
        lab.desk.orders,
        lambda: lab.desk.order("stop"),
        lambda: SupervisorLease(lab.server, lab.run, "a").hold(None),
    ):
        with pytest.raises(RunGone):
            act()
    assert not lab.server.exists(lab.keys.orders, lab.keys.supervisor)
    lab.server.close()


@pytest.mark.live
def test_what_a_run_was_dealt_with_is_known_on_every_host_and_a_removed_run_leaves_no_key() -> None:
    with EmbeddedServer() as server, connect(server.url) as client, connect(server.url) as elsewhere:
        # Given two runs that were dealt one after the other, the second with papers
        StreamDesk(client, "one").deal(dealing("one", ("r00",)))
        desk = StreamDesk(client, "two")
        desk.deal(msgspec.structs.replace(dealing("two", ("r00",)), papers=(b"settings", b"deal")))
        desk.admit("r01", [b"joined"])
        deeds.ask(client, "two", "r01", "kill r01")
        SupervisorLease(client, "two", "a").hold(7)

        # Then any other client finds both and reads the papers
        assert StreamRuns(elsewhere).newest_first() == ["two", "one"]
        assert StreamDesk(elsewhere, "two").papers() == [b"settings", b"deal"]
        assert StreamDesk(elsewhere, "one").papers() == []

        # And when they are removed by whoever does so, nothing is left
        StreamDesk(elsewhere, "two").forget()
        assert StreamRuns(elsewhere).newest_first() == ["one"]
        StreamDesk(elsewhere, "one").forget()
        assert client.keys() == []


@pytest.mark.live
def test_one_supervisor_holds_a_run_at_a_time_and_its_successor_knows_what_was_done(server: EmbeddedServer) -> None:
    lab = StreamsLab(server.url, "r00")
    one, other = (SupervisorLease(lab.server, lab.run, name) for name in ("one", "other"))

    # Given one who holds it, and has noted how far the deeds were handed out
    assert one.hold(None) == -1
    assert one.hold(5_000_000) == 5_000_000
    # When another one asks / Then it has to stand by
    assert other.hold(None) is None
    # until the first one gives it back, or its lease runs out; it knows then how far things were
    one.release()
    assert other.hold(None) == 5_000_000
    assert one.hold(None) is None
    lab.server.hset(lab.keys.supervisor, "until_us", "1")
    assert one.hold(None) == 5_000_000
    # One who had it, and lost it for a while, does not renew it as if nothing had happened
    one.release()
    assert other.hold(None) == 5_000_000
    assert other.hold(8_000_000) == 8_000_000
    other.release()
    assert one.hold(6_000_000) is None
    assert one.hold(None) == 8_000_000
    # and whoever does not hold it cannot give it back
    other.release()
    assert other.hold(None) is None
    lab.server.close()


@pytest.mark.live
def test_a_deed_that_is_asked_of_an_rq_worker_is_heard_once_and_only_by_whoever_runs_the_robot_then(
    server: EmbeddedServer,
) -> None:
    lab = StreamsLab(server.url, "r00")
    # Given a deed that was meant for an earlier life
    deeds.ask(lab.server, lab.run, "r00", "kill r00")
    hearing = deeds.Deeds(lab.server, lab.run, "r00")
    assert hearing.read() == []
    # When others follow, and something too long to be one
    for deed in ("pause r00", "x" * 1000, "kill rq:r00"):
        deeds.ask(lab.server, lab.run, "r00", deed)
    # Then each is heard once, and only those of this robot
    assert hearing.read() == ["pause r00", "kill rq:r00"]
    assert hearing.read() == []
    lab.server.close()


@pytest.mark.live
def test_dealing_again_after_a_lost_reply_adds_nothing(server: EmbeddedServer, proxy: CuttingProxy) -> None:
    run = f"t{next(_runs)}"
    with connect(proxy.url) as client, connect(server.url) as observer:
        # Given a deal, each of whose replies is lost in turn
        proxy.cut(b"XADD", times=3)
        desk = StreamDesk(client, run)
        desk.deal(dealing(run, ("r00",)))
        assert proxy.cuts == 3
        # When the same is dealt once more
        desk.deal(dealing(run, ("r00",)))
        # Then it stands once; and another deal under the same name is refused
        evidence = StreamDesk(observer, run).collect()
        assert evidence.journals["r00"] == [JournalRow(0, 1, b"header"), JournalRow(0, 2, b"part of r00")]
        assert len(evidence.orders) == 1
        assert evidence.outboxes[0].added == 1
        with pytest.raises(ValueError, match="dealt before"):
            desk.deal(dealing(run, ("r00", "r01")))


def test_a_death_whose_reply_was_lost_counts_once(server: EmbeddedServer, proxy: CuttingProxy) -> None:
    lab = StreamsLab(server.url, "r00")

    async def story() -> None:
        with connect(proxy.url) as client:
            # Given a teller who will not hear the first two replies
            log = StreamFleetLog(client, lab.run)
            proxy.cut(b"XADD", times=2)
            # When it tells of a death, and then of another just like it
            log.death("r00", "r00", 1, "signal", -9)
            assert proxy.cuts == 2
            log.death("r00", "r00", 1, "signal", -9)
            # Then there are two
            assert len(lab.fleet_log().rows()) == 2
            assert len(await lab.life("r00", "first").fleet.rows()) == 2

    lab.tell(story)


def test_what_befalls_the_fleet_of_a_run_that_is_gone_is_not_stored(server: EmbeddedServer) -> None:
    with connect(server.url) as client:
        log = StreamFleetLog(client, "gone")
        log.deed("kill robot", "r00")
        assert log.rows() == []
        assert not client.exists(Keys("gone").deaths)


def test_what_is_neither_deed_nor_death_is_passed_over(server: EmbeddedServer) -> None:
    lab = StreamsLab(server.url, "r00")

    async def story() -> None:
        # Given what anybody may write to a stream, and a death
        garbage = [{"x": b"y"}, {"d": b"\xc1", "n": b"1"}, {"d": b"\x92\xa5death\x01", "n": b"2"}]
        for fields in garbage:
            lab.server.xadd(lab.keys.deaths, fields)
        lab.fleet_log().death("r00", "r00", 1, "silent", -9)
        # Then the death alone is read
        [death] = await lab.life("r00", "first").fleet.rows()
        assert death == Death(death.entry, "r00", "r00", 1, "silent", -9)

    lab.tell(story)


def test_the_last_life_of_a_robot_is_the_last_that_its_journal_knows(server: EmbeddedServer) -> None:
    lab = StreamsLab(server.url, "r00")

    async def story() -> None:
        assert last_incarnation(lab.server, lab.run, "r00") == 0
        await lab.life("r00", "first").journal.append(7, [b"born", b"part"])
        assert last_incarnation(lab.server, lab.run, "r00") == 7
        lab.lose_journal("r00")
        assert last_incarnation(lab.server, lab.run, "r00") == 0

    lab.tell(story)


def test_a_fleet_log_that_cannot_be_reached_says_so(server: EmbeddedServer, proxy: CuttingProxy) -> None:
    lab = StreamsLab(server.url, "r00", through=proxy.url, patience_s=0.0)

    async def story() -> None:
        with connect(proxy.url) as client:
            log = StreamFleetLog(client, lab.run, patience_s=0.0)
            proxy.cut(b"XADD")
            with pytest.raises(Unavailable):
                log.deed("kill robot", "r00")
            proxy.cut(b"XRANGE")
            with pytest.raises(Unavailable):
                log.rows()
            proxy.cut(b"XRANGE")
            with pytest.raises(Unavailable):
                await lab.life("r00", "first").fleet.rows()

    lab.tell(story)
