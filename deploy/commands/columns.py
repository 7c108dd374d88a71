"""Rows of words, set in columns for people. What the words mean is not known here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def in_columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """One line for the head and one for each row, every column as wide as its widest word."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        yield "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()
