"""Names and numbers in sentences for people: robots, parts, shares and times, short enough for one line. Pure, and
without any knowledge of a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

MOST_NAMED: Final = 10


def named_robots(robots: Iterable[str]) -> str:
    """Robots in order, neighbours as ranges: `r00..r02, r05`."""
    return _some(_ranges([(_number(name), name) for name in sorted(set(robots), key=_number)]))


def named_parts(parts: Iterable[int]) -> str:
    """`part 4`, `parts 2..4, 7`."""
    names = [(part, str(part)) for part in sorted(set(parts))]
    return f"part{'s' * (len(names) != 1)} {_some(_ranges(names))}"


def counted(count: int, one: str, several: str = "") -> str:
    """`1 exchange`, `3 exchanges`."""
    return f"{count} {one if count == 1 else several or f'{one}s'}"


def seconds(microseconds: int) -> str:
    """`12 ms` below a second, else `1.04 s`."""
    return f"{microseconds / 1000:.0f} ms" if abs(microseconds) < 1_000_000 else f"{microseconds / 1e6:.2f} s"


def share(part: float) -> str:
    """`36%`; a share that is not whole is never shown as 100%, and one that is not nothing never as 0%."""
    if 0.99 < part < 1:
        return "over 99%"
    return "under 1%" if 0 < part < 0.01 else f"{part:.0%}"


def in_brackets(text: str) -> str:
    """` (text)`; nothing for an empty text."""
    return f" ({text})" if text else ""


def bits_of(bitmap: int) -> list[int]:
    """The indices in a bitmap, in order."""
    return [index for index in range(bitmap.bit_length()) if bitmap >> index & 1]


def bitmap_of_parts(parts: Iterable[int]) -> int:
    """The bitmap of these indices."""
    bitmap = 0
    for part in parts:
        bitmap |= 1 << part
    return bitmap


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" * (len(names) > MOST_NAMED)
    return ", ".join(names[:MOST_NAMED]) + more


def _ranges(names: Sequence[tuple[int, str]]) -> list[str]:
    """The names with their numbers, in order; three neighbours or more as one range."""
    runs: list[list[str]] = []
    before = None
    for number, name in names:
        if before is not None and number == before + 1:
            runs[-1].append(name)
        else:
            runs.append([name])
        before = number
    return [text for run in runs for text in ([f"{run[0]}..{run[-1]}"] if len(run) > 2 else run)]


def _number(robot: str) -> int:
    return int(robot[1:]) if robot[1:].isdecimal() else -1
