"""A table that is painted again and again at the same place of a terminal; elsewhere one below the other. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from rich.cells import cell_len, set_cell_size

_UP: Final = "\x1b[{}F"  # to the beginning of the line so far above
_REST: Final = "\x1b[J"  # erase what is below


class Extent(NamedTuple):
    """Of a terminal, in cells."""

    columns: int
    lines: int


class Repainting:
    """What to print so that the lines stand in the place of those before."""

    def __init__(self) -> None:
        self._painted = 0

    def text(self, lines: Sequence[str], extent: Extent | None) -> tuple[str, str]:
        """What moves the cursor, and the text, without a last line break. `extent` None: it is no terminal. What does
        not fit is cut."""
        is_first, before = not self._painted, self._painted
        self._painted = len(lines)
        if extent is None:
            return "", "\n".join(lines if is_first else ["", *lines])
        shown = [_cut(line, extent.columns) for line in lines[: max(1, extent.lines - 1)]]
        self._painted = len(shown)
        return (_UP.format(min(before, extent.lines - 1)) + _REST) * (not is_first), "\n".join(shown)


def _cut(line: str, columns: int) -> str:
    """A line that wraps would take more place than is counted."""
    return line if cell_len(line) < columns else set_cell_size(line, columns - 1).rstrip()
