"""What every driver of the ports promises about an outbox, in memory, on fakeredis and on a real server."""

from __future__ import annotations

from broker.control_entries import Birth
from broker.ports.robot import SendResult
from tests.support.port_labs import MakeLab


def test_a_full_outbox_refuses(make_lab: MakeLab) -> None:
    lab = make_lab("r00", outbox_limit=3)  # the plan is an entry already

    async def story() -> None:
        outbox = lab.life("r00", "first").outbox
        assert [await outbox.send(b"frame") for _ in range(4)] == [SendResult.SENT] * 2 + [SendResult.FULL] * 2
        assert lab.evidence.collect().outboxes[0].added == 3

    lab.play(story)


def test_robots_write_to_the_outbox_of_their_shard(make_lab: MakeLab) -> None:
    lab = make_lab("r00", "r01")

    async def story() -> None:
        # When robots 0 and 1 of a run with two shards send, and one announces its birth
        assert await lab.life("r00", "a").outbox.send(b"frame") is SendResult.SENT
        assert await lab.life("r01", "b").outbox.send(b"frame") is SendResult.SENT
        await lab.life("r01", "b").outbox.announce(Birth("r01", 1, "b"))
        # Then each outbox holds the plan and what its own robots wrote
        outboxes = lab.evidence.collect().outboxes
        assert (outboxes[0].added, outboxes[1].added) == (2, 3)

    lab.play(story)
