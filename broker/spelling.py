"""Words of a text and where they stand in it, so that a complaint can point at the very one that is wrong.

What any word means is known elsewhere: broker/targets.py and broker/grammar.py.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Final

import msgspec

LONGEST_TEXT: Final = 4096  # characters
_SHOWN: Final = 60  # characters of a text or a word that a complaint repeats


class Misspelt(ValueError):
    """A text that means nothing here. `column` (from 0) is where in `text` the wrong `word` stands; an empty word means
    that one is missing there. `allowed` says what may stand in its place. As a string it is one line."""

    def __init__(self, text: str, column: int, word: str, allowed: str) -> None:
        self.text = text
        self.column = column
        self.word = word
        self.allowed = allowed
        before = text[:column].split()[-1:]
        place = f", at {_shown(word)}" if word else f", after {_shown(before[0])}" if before else ""
        super().__init__(f"in {_around(text, column)}{place}: allowed is {allowed}")


class Word(msgspec.Struct, frozen=True):
    """A piece of `whole`, from `start` to before `end`."""

    whole: str
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.whole[self.start : self.end]

    def split(self, separator: str) -> list[Word]:
        """The pieces between separators, empty ones too."""
        pieces: list[Word] = []
        rest: Word | None = self
        while rest is not None:
            piece, rest = rest.cut(separator)
            pieces.append(piece)
        return pieces

    def cut(self, separator: str) -> tuple[Word, Word | None]:
        """The pieces before and after the first separator; None when there is none."""
        place = self.whole.find(separator, self.start, self.end)
        if place < 0:
            return self, None
        return Word(self.whole, self.start, place), Word(self.whole, place + len(separator), self.end)

    def words(self) -> list[Word]:
        """The pieces between white space."""
        found = re.compile(r"\S+").finditer(self.whole, self.start, self.end)
        return [Word(self.whole, *match.span()) for match in found]

    def misspelt(self, allowed: str) -> Misspelt:
        """The complaint that points here."""
        return Misspelt(self.whole, self.start, self.text, allowed)


class Words:
    """The words of a line, taken one after the other. Past the last one stands an empty word."""

    def __init__(self, line: Word) -> None:
        self._words = line.words()
        end = self._words[-1].end if self._words else line.start
        self._words.append(Word(line.whole, end, end))
        self._next = 0

    def peek(self) -> str:
        """The text of the next word; empty at the end."""
        return self._words[self._next].text

    def take(self) -> Word:
        """The next word."""
        word = self._words[self._next]
        self._next = min(self._next + 1, len(self._words) - 1)
        return word


def whole(text: str) -> Word:
    """All of `text`. Raises Misspelt when it is longer than any that is read."""
    if len(text) > LONGEST_TEXT:
        raise Misspelt(
            text, LONGEST_TEXT, text[LONGEST_TEXT : LONGEST_TEXT + 1], f"a text of {LONGEST_TEXT} characters"
        )
    return Word(text, 0, len(text))


def one_of(names: Iterable[str], instead_of: str) -> str:
    """What is allowed where a name is not known: all of them, and the nearest one."""
    known = list(names)
    near = difflib.get_close_matches(instead_of[:_SHOWN], known, 1)
    return ", ".join(known) + (f"; did you mean {near[0]}?" if near else "")


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def _around(text: str, column: int) -> str:
    """The text, or of a long one what stands around the column."""
    if len(text) <= 2 * _SHOWN:
        return repr(text)
    start = max(0, column - _SHOWN)
    end = column + _SHOWN
    return repr(("…" if start else "") + text[start:end] + ("…" if end < len(text) else ""))
