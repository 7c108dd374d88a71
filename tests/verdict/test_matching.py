"""Pairs of what was wanted and what came: no other choice of pairs has more, or leaves less of what comes first."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from telemetry.verdict.checks.matching import Wanted, distance, matched

EARLY, LATE = 1, 4
times = st.lists(st.integers(0, 20), max_size=6).map(sorted)


def windows(wanted_us: list[int], late_us: int = LATE) -> list[Wanted]:
    return [Wanted(at_us, at_us - EARLY, at_us + late_us) for at_us in wanted_us]


def can_all_be_paired(wanted: list[int], came: list[int]) -> bool:
    """By the first that fits, in the order of time: all windows are equally long."""
    left = list(came)
    for at in wanted:
        fit = next((other for other in left if at - EARLY <= other <= at + LATE), None)
        if fit is None:
            return False
        left.remove(fit)
    return True


@given(times, times, st.data())
def test_as_many_are_paired_as_can_be_and_the_first_in_order_before_all_others(
    wanted: list[int], came: list[int], data: st.DataObject
) -> None:
    # Given what was wanted, what came, and who goes first
    order = data.draw(st.permutations(range(len(wanted))))
    # When they are paired
    pairs = matched(windows(wanted), came, order)
    # Then each has a partner of its own, in its time
    assert len(set(pairs.values())) == len(pairs)
    assert all(wanted[place] - EARLY <= came[other] <= wanted[place] + LATE for place, other in pairs.items())
    # and one has none only if it cannot have one together with those before it
    chosen: list[int] = []
    for place in order:
        if can_all_be_paired(sorted(wanted[each] for each in [*chosen, place]), came):
            chosen.append(place)
    assert pairs.keys() == set(chosen)
    sizes = [
        size
        for size in range(len(wanted) + 1)
        if any(can_all_be_paired(list(some), came) for some in combinations(wanted, size))
    ]
    assert len(pairs) == max(sizes)


def test_each_gets_the_nearest_that_is_left() -> None:
    assert matched(windows([10, 40], 30), [10, 39, 41, 70], range(2)) == {0: 0, 1: 1}
    assert [distance(12, [10, 15]), distance(12, [])] == [2, 0]


def test_a_long_row_in_which_each_is_late_is_paired_at_once() -> None:
    # Given much more than a recursion could hold, of which the first is missing
    wanted = list(range(20_000))
    # When all are paired with what came, then exactly one is left
    assert len(matched(windows(wanted), wanted[1:], wanted)) == 19_999
