"""The lie that the lab tells a robot when a deed asks for it: another word for a part that the robot was dealt.

It looks like an update from another robot, and bears the lab's mark: an incarnation that no life ever reaches. Pure.
"""

from __future__ import annotations

from typing import Final

from broker.envelope import Envelope, encode
from robots.deal import Deal
from robots.messages import Update, encode_message, kind_of
from robots.secret import Part

INCARNATION: Final = 1 << 32
"""Whom nobody must take for a life."""

_LIES: Final = ("lie ", "another lie ")
_EXCHANGE: Final = bytes(8)  # none that anybody began


def contradiction(run: str, deal: Deal, robot: str, number: int) -> bytes | None:
    """A frame that tells `robot` a wrong word for a part that it was dealt, as if its neighbour had said so; None when
    it was dealt nothing. It is the lab's `number`-th to it (from 1): two are no repeats."""
    dealt, names = deal.parts_of(robot), deal.robots
    if not dealt:
        return None
    part, sender = dealt[0], names[(names.index(robot) + 1) % len(names)]
    word = next(word for word in _LIES if word != part.word)
    lie = Update((Part(part.index, word, part.last),))
    envelope = Envelope(run, sender, INCARNATION, robot, number, _EXCHANGE, kind_of(lie), encode_message(lie))
    return encode(envelope)
