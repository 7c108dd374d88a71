"""What every driver of the ports promises about orders, fleet log and evidence: in memory, on fakeredis and on a real
server.
"""

from __future__ import annotations

from broker.ports.robot import Acknowledgement, Death, Failure, Injection, JournalRow, SendResult
from broker.relay.core import parse_id
from tests.support.port_labs import WAIT_US, MakeLab


def test_orders_come_in_order_to_late_readers_too(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        # Given a reader from the start
        early = lab.life("r00", "early").orders
        [dealt] = await early.read(WAIT_US)
        assert (dealt.order, dealt.content) == ("dealt", b"terms")
        assert await early.read(0) == []
        # When orders are given
        lab.run_control.order("go")
        lab.run_control.order("stop", b"complete")
        # Then it gets them once, and a late reader gets all of them
        late = await lab.life("r00", "late").orders.read(WAIT_US)
        assert [(order.order, order.content) for order in late] == [
            ("dealt", b"terms"),
            ("go", b""),
            ("stop", b"complete"),
        ]
        assert await early.read(WAIT_US) == late[1:]
        assert lab.evidence.collect().orders == late

    lab.play(story)


def test_a_robot_that_joins_has_all_that_a_dealt_one_has_and_is_announced_once(make_lab: MakeLab) -> None:
    lab = make_lab("r00", "r01")

    async def story() -> None:
        # Given a run of two robots, and the orders that its run control has read
        assert [order.order for order in lab.run_control.orders()] == ["dealt"]
        # When a third one joins, and is let in once more
        for _ in range(2):
            lab.run_control.admit("r02", [b"joined"])
        # Then the run control reads that once, and a life of it can be born, send and receive
        assert [(order.order, order.content) for order in lab.run_control.orders()] == [("joined", b"r02")]
        assert lab.run_control.orders() == []
        life = lab.life("r02", "first")
        assert await life.journal.replay() == [JournalRow(0, 1, b"joined")]
        await life.journal.append(1, [b"born"])
        await life.register.announce_birth(1)
        assert await life.outbox.send(b"frame") is SendResult.SENT
        lab.deliver("r02", b"copy")
        assert [delivery.frame for delivery in await life.inbox.receive(10, WAIT_US)] == [b"copy"]
        # and the evidence tells of all three
        evidence = lab.evidence.collect()
        assert list(evidence.journals) == list(evidence.births) == ["r00", "r01", "r02"]
        assert evidence.inboxes["r02"].added == 1

    lab.play(story)


def test_injections_deaths_and_acknowledgements_stand_in_one_order_for_all_readers(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        # Given a run whose fleet log is empty
        parent, worker, life = lab.fleet_log(), lab.fleet_log(), lab.life("r00", "first")
        assert await life.fleet.rows() == parent.rows() == lab.evidence.collect().fleet == []
        # When two processes report an injection and deaths, and requests are acknowledged, one of them twice
        parent.injection("kill", "robot", "r00", "17-0")
        parent.failure("pause", "r01", "there is no r01 now", "17-1")
        worker.death("r00", "r00", 1, "signal", -9)
        parent.death("relay:1", "", 0, "exit", 3)
        for _ in range(2):
            parent.acknowledge("17-0", "set kill r00", "")
        worker.acknowledge("18-0", "set kill unknown", "there is none")
        # Then a life, both of them and the evidence have the same rows, dated in that order
        rows = await life.fleet.rows()
        injection, failure, death, other, answer, refusal = rows
        assert rows == parent.rows() == worker.rows() == lab.evidence.collect().fleet
        assert injection == Injection(injection.entry, "kill", "robot", "r00", "17-0")
        assert failure == Failure(failure.entry, "pause", "r01", "there is no r01 now", "17-1")
        assert death == Death(death.entry, "r00", "r00", 1, "signal", -9)
        assert other == Death(other.entry, "relay:1", "", 0, "exit", 3)
        assert answer == Acknowledgement(answer.entry, "17-0", "set kill r00", "")
        assert refusal == Acknowledgement(refusal.entry, "18-0", "set kill unknown", "there is none")
        dates = [parse_id(row.entry) for row in rows]
        assert dates == sorted(set(dates))

    lab.play(story)


def test_a_fresh_deal_is_all_the_evidence_there_is(make_lab: MakeLab) -> None:
    lab = make_lab("r00", "r01")

    async def story() -> None:
        evidence = lab.evidence.collect()
        assert evidence.journals["r01"] == [JournalRow(0, 1, b"header"), JournalRow(0, 2, b"part of r01")]
        assert evidence.births == {"r00": [], "r01": []}
        assert (evidence.register_exists, evidence.writes) == (True, [])
        assert {shard: outbox.added for shard, outbox in evidence.outboxes.items()} == {0: 1, 1: 1}
        assert evidence.controls == {0: [], 1: []}
        assert evidence.fates == {0: [], 1: []}

    lab.play(story)
