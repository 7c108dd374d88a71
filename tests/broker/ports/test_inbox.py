"""What every driver of the ports promises about an inbox, in memory, on fakeredis and on a real server."""

from __future__ import annotations

import asyncio

from broker.ports.robot import Delivery
from tests.support.port_labs import LONG_US, MakeLab, exchange_letters, receive_all


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

    lab.play(story)


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

    lab.play(story)


def test_a_copy_keeps_its_number(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        lab.deliver("r00", b"twice", 0)
        lab.deliver("r00", b"twice", 1)
        received = await receive_all(lab.life("r00", "first"))
        assert [delivery.copy for delivery in received] == [0, 1]

    lab.play(story)


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

    lab.play(story)


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

    lab.play(story)


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
        successor = lab.life("r00", "second")
        assert await receive_all(successor) == []
        await exchange_letters(lab, successor, 300)
        assert successor.inbox.lost == 0

    lab.play(story)


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

    lab.play(story)


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
        successor = lab.life("r00", "second")
        assert (await receive_all(successor))[0] == Delivery(received.entry, 0, None)
        assert successor.inbox.lost == 1

    lab.play(story)
