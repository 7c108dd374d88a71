"""How to ask for a change of a running plan: `set LINES`, `clear WHAT` or `heal`. Read here, done elsewhere."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from broker.deeds import DEEDS
from broker.faults import ORDER
from broker.grammar import Harm, Heal, Line, read_harm, read_lines
from broker.spelling import Word, one_of, whole

_INSTANCE: Final = re.compile(r"#([0-9]{1,9})")


class Set(msgspec.Struct, frozen=True):
    """Amend the plan by these lines. Their times count from the request."""

    lines: tuple[Line, ...]


class Clear(msgspec.Struct, frozen=True):
    """Take out of the plan all faults of a name, all that are exactly a fault, or the one of an instance number."""

    what: str | Harm | int

    def means(self, instance: int, fault: Harm | Heal) -> bool:
        return self.what in (instance, fault.name, fault)


class HealNow(msgspec.Struct, frozen=True):
    """End every fault that has begun."""


Request = Set | Clear | HealNow


def parse_request(words: str) -> Request:
    """The request that a text such as `set loss 0.5 r03 @1s+2s` means. Raises Misspelt."""
    text = whole(words)
    verb, *more = text.words() or [text]
    rest = Word(words, verb.end, text.end)
    if verb.text == "set":
        lines = read_lines(rest)
        if not lines:
            raise Word(words, verb.end, verb.end).misspelt("a fault such as loss 0.2")
        return Set(tuple(lines))
    if verb.text == "clear":
        return Clear(_what(more, rest))
    if verb.text != "heal":
        raise verb.misspelt(one_of(("set", "clear", "heal"), verb.text))
    if more:
        raise more[0].misspelt("nothing more; for later, set heal @5s")
    return HealNow()


def _what(words: list[Word], rest: Word) -> str | Harm | int:
    if len(words) != 1:
        return read_harm(rest)
    (word,) = words
    if not word.text.startswith("#"):
        return word.text if word.text in (*ORDER, *DEEDS, Heal.name) else read_harm(rest)
    instance = _INSTANCE.fullmatch(word.text)
    if instance is None:
        raise word.misspelt("the number of a fault, such as #3")
    return int(instance[1])
