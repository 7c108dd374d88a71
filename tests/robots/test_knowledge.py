"""The three invariants of knowledge, and completeness: what a robot may come to know, in any order, from any sender."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robots.knowledge import (
    NOTHING,
    InvariantViolation,
    Knowledge,
    bitmap_of,
    digest_of,
    from_bytes,
    indices_from,
    indices_of,
    to_bytes,
)
from robots.secret import Part, cut


def learnt(*parts: Part) -> Knowledge:
    knowledge = Knowledge()
    knowledge.learn(knowledge.news(parts))
    return knowledge


# Completeness.


@pytest.mark.parametrize(
    ("known", "complete"),
    [
        ([], False),
        ([(0, True)], True),
        ([(0, False)], False),  # no last mark
        ([(0, False), (1, True)], True),
        ([(1, True), (0, False)], True),  # any order
        ([(0, False), (2, True)], False),  # a gap
        ([(1, False), (2, True)], False),  # the first is missing
        ([(0, False), (1, False), (2, False)], False),  # all there, but none is marked last
        ([(0, False), (0, False), (1, True), (1, True)], True),  # duplicates
    ],
)
def test_complete_means_no_gap_up_to_the_last_mark(known: list[tuple[int, bool]], complete: bool) -> None:
    knowledge = learnt(*(Part(index, f"w{index}.", last) for index, last in known))

    assert knowledge.now.complete is complete


def test_a_full_stop_ends_no_secret() -> None:
    # Given a text of two sentences, of which the first is known
    parts = cut("Meet me. Bring the map.")

    # Then the first sentence alone is not taken for the whole
    assert not learnt(*parts[:2]).now.complete
    assert learnt(*parts).now.text() == "Meet me. Bring the map."


# Monotonic, unique, idempotent.


@given(st.lists(st.integers(0, 20), max_size=60), st.randoms(use_true_random=False))
def test_any_order_and_any_repetition_of_parts_gives_the_same_knowledge(indices: list[int], chance) -> None:
    parts = [Part(index, f"w{index} ", index == 20) for index in indices]
    shuffled = parts * 2
    chance.shuffle(shuffled)

    knowledge = Knowledge()
    seen = 0
    for part in shuffled:
        knowledge.learn(knowledge.news([part]))
        assert knowledge.now.known & seen == seen, "nothing known was lost"
        seen = knowledge.now.known

    assert knowledge.now.known == learnt(*parts).now.known == bitmap_of(indices)
    assert knowledge.now.count == len(set(indices))


def test_a_known_part_is_no_news() -> None:
    part = Part(3, "oak ", False)
    knowledge = learnt(part)

    assert knowledge.news([part, part]) == []


@pytest.mark.parametrize(
    "intruder",
    [
        Part(0, "other ", False),  # another word
        Part(0, "a ", True),  # another last mark
        Part(5, "f ", False),  # beyond the last
        Part(1, "b ", True),  # a second last, before the first
    ],
)
def test_a_contradiction_is_refused_and_changes_nothing(intruder: Part) -> None:
    knowledge = learnt(Part(0, "a ", False), Part(3, "d", True))
    before = knowledge.now

    with pytest.raises(InvariantViolation, match="unique"):
        knowledge.news([Part(2, "c ", False), intruder])

    assert knowledge.now is before
    assert before.known == 0b1001


def test_two_parts_of_one_message_may_not_contradict_each_other() -> None:
    with pytest.raises(InvariantViolation):
        Knowledge().news([Part(0, "a ", False), Part(0, "b ", False)])
    with pytest.raises(InvariantViolation):
        Knowledge().news([Part(4, "z ", False), Part(1, "y ", True)])


def test_a_part_cannot_be_learnt_over_a_known_one() -> None:
    knowledge = learnt(Part(0, "a ", False))

    with pytest.raises(InvariantViolation, match="monotonic"):
        knowledge.learn([Part(0, "b ", False)])

    assert knowledge.now.part(0).word == "a "


def test_an_old_snapshot_does_not_see_what_came_later() -> None:
    knowledge = learnt(Part(0, "a ", False))
    old = knowledge.now
    knowledge.learn([Part(1, "b", True)])

    assert old.parts() == [Part(0, "a ", False)]
    assert not old.complete
    with pytest.raises(KeyError):
        old.part(1)
    assert Knowledge(old).now.known == 1, "a successor that begins with it does not either"


# Bitmaps.


@given(st.sets(st.integers(0, 300)), st.integers(0, 320))
def test_bitmaps_are_sets(indices: set[int], start: int) -> None:
    bitmap = bitmap_of(indices)

    assert list(indices_of(bitmap)) == sorted(indices)
    assert from_bytes(to_bytes(bitmap)) == bitmap
    rounds = [index for index in sorted(indices) if index >= start] + [
        index for index in sorted(indices) if index < start
    ]
    assert list(indices_from(bitmap, start)) == rounds


def test_nothing_has_a_digest_too() -> None:
    assert NOTHING.digest == digest_of(0)
    assert digest_of(1) != digest_of(2)
