"""A process fault's words, as a row of the fleet log holds them. Nothing else lives here."""

from __future__ import annotations


def fault_words(text: str) -> dict[str, str]:
    """`kill robot` as the fields of an injection row."""
    verb, _, target = text.partition(" ")
    return {"verb": verb, "target": target}
