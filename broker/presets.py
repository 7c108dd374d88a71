"""Named plans: what a run's network does when nothing else is said. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from broker.grammar import Line, parse_line
from broker.shards import robot_name

PRESETS: Final[Mapping[str, tuple[str, ...]]] = {
    "calm": (),
    "lossy": ("loss 0.2", "duplicate 0.1", "delay 5ms..20ms", "reorder 0.1"),
    "storm": ("burst-loss 0.3 5", "duplicate 0.2 x3", "delay 20ms~1", "reorder 0.3", "corrupt 0.02"),
    "split": ("loss 0.05", "delay 5ms..20ms", "partition hold {halves} @0s+3s"),
}
"""Lines by name; `{halves}` stands for the first half of the robots against the second."""


def lines_of(preset: str, robots: int) -> list[Line]:
    """The lines of a preset for so many robots (2 or more). Raises KeyError when there is no such preset."""
    names = [robot_name(number, robots) for number in (0, (robots - 1) // 2, (robots + 1) // 2, robots - 1)]
    halves = "{}..{}|{}..{}".format(*names)
    return [parse_line(text.format(halves=halves)) for text in PRESETS[preset]]
