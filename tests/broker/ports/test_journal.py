"""What every driver of the ports promises about a journal, in memory, on fakeredis and on a real server."""

from __future__ import annotations

import asyncio

import pytest

from broker.errors import Fenced, JournalLost
from broker.ports.robot import Journal, JournalRow
from tests.support.port_labs import MakeLab


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

    lab.play(story)


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

    lab.play(story)


def test_two_lives_cannot_claim_the_same_incarnation(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        lives = [lab.life("r00", f"n{number}").journal for number in range(5)]
        # When five lives claim incarnation 1 at the same time, with the same content
        outcomes = await asyncio.gather(*(life.append(1, [b"born"]) for life in lives), return_exceptions=True)
        # Then one has it, and the others are fenced
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Fenced"] * 4 + ["NoneType"]
        assert len(await lives[0].replay()) == 3

    lab.play(story)


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
        assert lab.evidence.collect().journals["r00"] is None

    lab.play(story)


async def stored(journal: Journal) -> list[tuple[int, int, bytes]]:
    """What lives have appended: incarnation, number and content."""
    return [(row.incarnation, row.number, row.content) for row in (await journal.replay())[2:]]


def test_an_idle_life_restores_what_the_server_forgot_and_reports_it_once(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        # Given a life that has appended, of which nothing was forgotten
        journal = lab.life("r00", "one").journal
        assert not await journal.restore()
        await journal.append(1, [b"born"])
        await journal.append(1, [b"x", b"y"])
        before = await stored(journal)
        assert not await journal.restore()
        for number in (2, 3):  # its last entries, or all of them
            # When the server forgets some
            lab.forget_in_journal("r00", number)
            # Then they stand there again, under their own ids
            assert await journal.restore()
            assert await stored(journal) == before
            assert not await journal.restore()

    lab.play(story)


def test_an_append_restores_what_the_server_forgot_before_it(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        # Given a server that forgot this life's last two entries
        journal = lab.life("r00", "one").journal
        await journal.append(1, [b"born"])
        await journal.append(1, [b"x", b"y"])
        lab.forget_in_journal("r00", 2)
        # When the life appends, then nothing is missing, and the loss is reported all the same
        await journal.append(1, [b"z"])
        assert await stored(journal) == [(1, 1, b"born"), (1, 2, b"x"), (1, 3, b"y"), (1, 4, b"z")]
        assert await journal.restore()
        assert not await journal.restore()

    lab.play(story)


def test_a_life_that_has_a_successor_restores_nothing(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        # Given a server that forgot a life's entries, and a later life that claimed the same place
        old, new = lab.life("r00", "old").journal, lab.life("r00", "new").journal
        await old.append(1, [b"born"])
        lab.forget_in_journal("r00", 1)
        await new.append(1, [b"born"])
        # Then the older one is fenced, and the journal stays as it is
        with pytest.raises(Fenced):
            await old.restore()
        assert await stored(new) == [(1, 1, b"born")]
        assert not await new.restore()

    lab.play(story)
