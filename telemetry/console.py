"""Texts from outside, made harmless to a terminal. Pure."""

from __future__ import annotations

from typing import Final

_MOST_SHOWN: Final = 240  # characters of a text from outside


def printable(text: str) -> str:
    """A text from outside, on one line and harmless to a terminal: cut to a length that can be read, and with every
    unprintable character escaped."""
    return harmless(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…")


def harmless(text: str) -> str:
    """The whole text on one line, with every unprintable character escaped."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
