"""What every driver of the ports promises about births and the register: in memory, on fakeredis, on a real server."""

from __future__ import annotations

import asyncio

import pytest

from broker.errors import Fenced, RegisterLost
from broker.ports.robot import GREATEST_ID
from broker.ports.run import RegisterRow
from tests.support.port_labs import Lab, MakeLab


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
        evidence = lab.evidence.collect()
        assert evidence.writes == [RegisterRow(GREATEST_ID, "r00", 1, "one", b"the secret")]
        for robot, nonce, born in (("r00", "one", "1-1"), ("r01", "two", "3-1")):
            rows = evidence.births[robot]
            assert rows is not None
            assert [(row.what, row.nonce) for row in rows] == [("born", nonce), ("attempt", nonce)]
            assert rows[0].entry == born
            assert rows[0].at_us is None
            assert rows[1].at_us is not None

    lab.play(story)


def test_a_write_under_a_smaller_id_keeps_out_only_what_is_not_later(make_lab: MakeLab) -> None:
    lab = make_lab("r00", "r01")

    async def story() -> None:
        one, two = lab.life("r00", "one").register, lab.life("r01", "two").register
        await one.announce_birth(1)
        await two.announce_birth(1)
        # When a robot writes under an id that is not the greatest
        assert await one.write(b"the secret", "7-0") is not None
        # Then one with a smaller id is refused, a later one is accepted, and nothing follows the greatest
        assert await two.write(b"another", "6-0") is None
        assert await two.write(b"another") is not None
        assert await one.write(b"a third", "8-0") is None

    lab.play(story)


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
        evidence = lab.evidence.collect()
        attempts = [row for rows in evidence.births.values() for row in rows or () if row.what == "attempt"]
        assert len(attempts) == 20
        [write] = evidence.writes
        assert outcomes[robots.index(write.robot)] is not None

    lab.play(story)


def test_a_zombie_cannot_write(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        # Given a life and its successor
        zombie, successor = lab.life("r00", "zombie").register, lab.life("r00", "successor").register
        await zombie.announce_birth(1)
        await successor.announce_birth(2)
        # When the zombie writes, then it is fenced; and the register is still free for its successor
        with pytest.raises(Fenced):
            await zombie.write(b"stale secret")
        assert await successor.write(b"the secret") is not None

    lab.play(story)


def test_a_birth_that_comes_too_late_is_fenced(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        await lab.life("r00", "two").register.announce_birth(2)
        for incarnation in (1, 2):
            with pytest.raises(Fenced):
                await lab.life("r00", "late").register.announce_birth(incarnation)

    lab.play(story)


def test_a_birth_may_be_announced_again_by_the_same_life(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        register = lab.life("r00", "one").register
        await register.announce_birth(1)
        await register.announce_birth(1)
        assert len(lab.evidence.collect().births["r00"] or []) == 1

    lab.play(story)


def test_a_lost_register_is_never_made_anew(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        register = lab.life("r00", "one").register
        await register.announce_birth(1)
        lab.lose_register()
        for _ in range(2):
            with pytest.raises(RegisterLost):
                await register.write(b"the secret")
        evidence = lab.evidence.collect()
        assert (evidence.register_exists, evidence.writes) == (False, [])

    lab.play(story)


def births(lab: Lab, robot: str) -> list[str]:
    return [row.what for row in lab.evidence.collect().births[robot] or ()]


def test_a_birth_that_the_server_forgot_is_announced_again(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        # Given a life that was announced
        register = lab.life("r00", "one").register
        assert not await register.restore_birth()
        await register.announce_birth(2)
        assert not await register.restore_birth()
        # When the server forgets it
        lab.forget_in_births("r00", 1)
        # Then it stands there again, and that is reported once
        assert await register.restore_birth()
        [row] = lab.evidence.collect().births["r00"] or ()
        assert (row.entry, row.what, row.nonce) == ("2-1", "born", "one")
        assert not await register.restore_birth()

    lab.play(story)


def test_an_attempt_that_the_server_forgot_is_reported_and_never_made_again(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        # Given a life that wrote
        register = lab.life("r00", "one").register
        await register.announce_birth(1)
        assert await register.write(b"the secret")
        assert not await register.restore_birth()
        # When the server forgets the attempt, or the birth as well
        for number in (1, 1):
            lab.forget_in_births("r00", number)
            # Then only the birth is there again
            assert await register.restore_birth()
            assert births(lab, "r00") == ["born"]
            assert not await register.restore_birth()

    lab.play(story)


def test_a_life_whose_birth_the_server_forgot_may_write(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        # Given a server that forgot a birth
        register = lab.life("r00", "one").register
        await register.announce_birth(1)
        lab.forget_in_births("r00", 1)
        # When its life writes, then it is not taken for an older one; and the loss is reported
        assert await register.write(b"the secret")
        assert births(lab, "r00") == ["born", "attempt"]
        assert await register.restore_birth()

    lab.play(story)


def test_a_life_whose_birth_was_forgotten_and_has_a_successor_is_fenced(make_lab: MakeLab) -> None:
    lab = make_lab("r00")

    async def story() -> None:
        old, new = lab.life("r00", "old").register, lab.life("r00", "new").register
        await old.announce_birth(1)
        lab.forget_in_births("r00", 1)
        await new.announce_birth(1)
        with pytest.raises(Fenced):
            await old.restore_birth()
        assert not await new.restore_birth()

    lab.play(story)
