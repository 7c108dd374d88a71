"""What every driver of the ports promises about a journal, in memory, on fakeredis and on a real server."""

from __future__ import annotations

import asyncio

import pytest

from broker.errors import Fenced, JournalLost
from broker.ports.robot import JournalRow
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
