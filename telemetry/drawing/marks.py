"""The marks that stand beside a word and a colour, so that none of the three is needed alone: in Unicode, and in ASCII
for terminals that draw other letters badly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from telemetry.drawing.line import Tone
from telemetry.scene.states import State

_UNICODE: Final[dict[State, str]] = {
    "gossiping": "◌",
    "complete": "●",
    "quiet": "◆",
    "passive": "◇",
    "wrote": "★",
    "paused": "‖",
    "waiting": "…",
    "cut off": "╳",
    "dead": "✝",
    "away": "↻",
    "stuck": "!",
    "left": "·",
    "unborn": " ",
    "born": "○",
}
_ASCII: Final[dict[State, str]] = {
    "gossiping": "o",
    "complete": "O",
    "quiet": "Q",
    "passive": "q",
    "wrote": "*",
    "paused": "=",
    "waiting": "w",
    "cut off": "X",
    "dead": "+",
    "away": "@",
    "stuck": "!",
    "left": "-",
    "unborn": " ",
    "born": "b",
}
TONES: Final[dict[State, Tone]] = {
    "gossiping": "news",
    "complete": "good",
    "quiet": "good",
    "passive": "good",
    "wrote": "good",
    "paused": "bad",
    "waiting": "bad",
    "cut off": "bad",
    "dead": "bad",
    "away": "bad",
    "stuck": "bad",
    "left": "dim",
    "unborn": "dim",
    "born": "news",
}


class Marks:
    """The letters to draw with."""

    def __init__(self, is_ascii: bool = False) -> None:
        self.is_ascii = is_ascii
        self.states = _ASCII if is_ascii else _UNICODE
        self.own, self.learnt, self.missing = ("#", "+", ".") if is_ascii else ("█", "▓", "·")
        self.bars = " .:-=+*#%" if is_ascii else " ▁▂▃▄▅▆▇█"
        self.full, self.empty = ("#", "-") if is_ascii else ("█", "░")
        self.ruler, self.divider = ("-", " | ") if is_ascii else ("─", " │ ")
        self.change, self.injection = ("|", "x") if is_ascii else ("┼", "✕")
        self.done, self.against = ("+", "!") if is_ascii else ("✓", "!")
        self.shades = ".-=+#" if is_ascii else "·░▒▓█"
        self.more = "..." if is_ascii else "…"
        self.sorted_up, self.sorted_down = ("^", "v") if is_ascii else ("▲", "▼")

    def bar(self, share: float, width: int) -> str:
        """A share, 0..1, as a bar of so many cells."""
        full = round(share * width)
        return self.full * full + self.empty * (width - full)

    def spark(self, counts: Sequence[int], least: int = 0) -> str:
        """Counts as a row of small bars. A full one is the highest count, but not less than `least`."""
        top, steps = max([*counts, least], default=0), len(self.bars) - 1
        return "".join(self.bars[-(-count * steps // top) if top else 0] for count in counts)
