"""The marks that stand beside a word and a colour, so that none of the three is needed alone: in Unicode, and in ASCII
for terminals that draw other letters badly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len

from telemetry.drawing.line import Line, Tone
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
}


_LETTERS: Final = {"…": "~", "−": "-", "·": ".", "×": "x", "→": ">"}  # of texts that know no marks


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

    def drawable(self, drawn: Line) -> Line:
        """The line in letters that this terminal draws: in ASCII, whatever the texts in it hold."""
        if not self.is_ascii:
            return drawn
        return tuple(each if each.text.isascii() else each._replace(text=_in_ascii(each.text)) for each in drawn)

    def bar(self, share: float, width: int) -> str:
        """A share, 0..1, as a bar of so many cells."""
        full = round(share * width)
        return self.full * full + self.empty * (width - full)

    def spark(self, counts: Sequence[int], least: int = 0) -> str:
        """Counts as a row of small bars. A full one is the highest count, but not less than `least`."""
        top, steps = max([*counts, least], default=0), len(self.bars) - 1
        return "".join(self.bars[-(-count * steps // top) if top else 0] for count in counts)


def _in_ascii(text: str) -> str:
    """The text in as many cells."""
    return "".join(letter if letter.isascii() else _LETTERS.get(letter, "?" * cell_len(letter)) for letter in text)
