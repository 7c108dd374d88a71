"""The lie that the lab tells a robot when a deed asks for it: another word for a part that the robot was dealt.

It looks like an update from another robot, and bears the lab's mark: an incarnation that no life ever reaches. Pure.
"""

from __future__ import annotations

from typing import Final

from broker.envelope import Envelope, encode
from robots.messages import Update, encode_message, kind_of
from robots.secret import Part

INCARNATION: Final = 1 << 32
"""Whom nobody must take for a life."""

_LIES: Final = ("lie ", "another lie ")
_EXCHANGE: Final = bytes(8)  # none that anybody began


def contradiction(run: str, part: Part, robot: str, sender: str, number: int) -> bytes:
    """A frame that tells `robot` a wrong word for `part`, which it was dealt, as if `sender` had said so. It is the
    lab's `number`-th to it (from 1): two are no repeats."""
    word = next(word for word in _LIES if word != part.word)
    lie = Update((Part(part.index, word, part.last),))
    envelope = Envelope(run, sender, INCARNATION, robot, number, _EXCHANGE, kind_of(lie), encode_message(lie))
    return encode(envelope)
