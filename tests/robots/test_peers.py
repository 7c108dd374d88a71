"""Whom a robot talks to: its own shuffled list without repeats, suspects now and then, never itself."""

from collections import Counter
from random import Random

import pytest

from robots.peers import Peers, contacts


@pytest.mark.parametrize("robots", [2, 3, 6, 25, 1000])
def test_contacts_at_the_start_are_the_ring_successor_and_a_few_others(robots: int) -> None:
    for number in range(0, robots, max(1, robots // 7)):
        known = contacts(number, robots, Random(1))

        assert int(known[0][1:]) == (number + 1) % robots
        assert len(set(known)) == len(known) <= 12
        assert number not in {int(name[1:]) for name in known}


def test_everyone_is_drawn_once_before_anyone_is_drawn_twice() -> None:
    peers = Peers("r00", [f"r{n:02d}" for n in range(1, 11)], 0, Random(1))

    drawn = [name for _ in range(50) for name in peers.draw(2, [])]

    assert set(Counter(drawn).values()) == {10}
    assert all(len(set(drawn[start : start + 10])) == 10 for start in range(0, 100, 10))


@pytest.mark.parametrize(("known", "count", "busy"), [(2, 4, 0), (5, 2, 4), (5, 2, 5), (1, 4, 1)])
def test_the_deck_never_holds_a_name_twice_nor_grows(known: int, count: int, busy: int) -> None:
    names = [f"r{n:02d}" for n in range(1, known + 1)]
    peers = Peers("r00", names, 0, Random(1))

    for _ in range(500):
        drawn = peers.draw(count, names[:busy])
        assert len(drawn) == len(set(drawn)) == min(count, known - busy)
        assert not set(drawn) & set(names[:busy])
        assert len(peers._deck) == len(set(peers._deck)) <= known


def test_a_silent_peer_is_suspected_tried_now_and_then_and_trusted_again_when_heard() -> None:
    peers = Peers("r00", ["r01", "r02", "r03"], 0, Random(1))
    peers.suspect("r03")
    assert peers.alive == 2

    drawn = Counter(name for _ in range(300) for name in peers.draw(1, []))

    assert 0 < drawn["r03"] <= drawn["r01"]
    assert "r03" not in {name for _ in range(50) for name in peers.sample()}
    peers.mark_alive("r03", 0)
    assert peers.alive == 3


def test_every_sender_heard_and_every_robot_named_is_learnt_but_not_oneself() -> None:
    peers = Peers("r00", ["r01"], 0, Random(1))
    peers.mark_alive("r07", 0)
    peers.learn(["r08", "r00"])

    assert peers.alive == 3
    assert set(peers.draw(9, [])) == {"r01", "r07", "r08"}


def test_what_was_dealt_is_safe_only_when_each_part_was_seen_at_enough_others() -> None:
    peers = Peers("r00", ["r01", "r02"], 0b101, Random(1))
    assert not peers.hold_dealt(1)

    peers.mark_alive("r01", 0b111)
    assert peers.hold_dealt(1)
    assert not peers.hold_dealt(2)

    peers.mark_alive("r01", 0b111)
    peers.mark_alive("r02", 0b001)
    assert not peers.hold_dealt(2), "the same peer twice is one peer"
    peers.mark_alive("r02", 0b100)
    assert peers.hold_dealt(2)
