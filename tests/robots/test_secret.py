"""The secret: cut into parts and dealt, and any text comes back byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robots.secret import MAX_WORD, BadSecret, cut, holders, join

WORDS = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=60)


@given(WORDS.filter(str.strip))
def test_any_text_comes_back_byte_for_byte(text: str) -> None:
    assert join(cut(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "word",
        "  leading and trailing \n",
        "Two sentences. And another one!\n\nA paragraph.",
        "a\u00a0b\u2003c",
        "\ufefft e",
    ],
)
def test_white_space_of_any_kind_is_kept(text: str) -> None:
    parts = cut(text)

    assert join(parts) == text
    assert [part.index for part in parts] == list(range(len(parts)))
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]


@pytest.mark.parametrize("text", ["", " ", "\n\t "])
def test_a_blank_text_is_no_secret(text: str) -> None:
    with pytest.raises(BadSecret, match="at least one word"):
        cut(text)


def test_a_word_beyond_the_wires_limit_is_refused_before_the_start() -> None:
    cut("x" * MAX_WORD)
    with pytest.raises(BadSecret, match="word 2 has"):
        cut("fine " + "x" * (MAX_WORD + 1))


@given(st.integers(1, 30), st.integers(2, 12), st.integers(0, 99))
def test_a_deal_gives_each_part_to_as_many_robots_as_asked_and_repeats_with_its_seed(n: int, robots: int, seed: int):
    copies = 1 + seed % robots

    dealt = holders(n, robots, copies, seed)

    assert all(len(set(names)) == copies and max(names) < robots for names in dealt)
    assert dealt == holders(n, robots, copies, seed)
