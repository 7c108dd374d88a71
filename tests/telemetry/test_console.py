"""What is printed for a person: one line, for any text from outside."""

from __future__ import annotations

import pytest

from telemetry.console import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("set loss 0.5 r03>r05 «é»", "set loss 0.5 r03>r05 «é»"),
        ("\x1b[2J\x9b\x7f", r"\x1b[2J\x9b\x7f"),
        ("one\ntwo\rthree\u2028", r"one\ntwo\rthree\u2028"),
        ("\u202etxet\ud800", r"\u202etxet\ud800"),
        ("x" * 240, "x" * 240),
        ("x" * 241, "x" * 240 + "…"),
    ],
)
def test_text_from_outside_is_shown_on_one_line_and_does_nothing(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(text).isprintable()
