"""The faults that were in force over time, one row each, on the time axis of the curves."""

from __future__ import annotations

from collections.abc import Iterator

from telemetry.drawing.line import Fragment, Line, Size, headed, line
from telemetry.drawing.marks import Marks
from telemetry.drawing.overview.convergence import SCALE, Shown, shown_of
from telemetry.scene.scene import Scene


def fault_strip(scene: Scene, size: Size, marks: Marks) -> list[Line]:
    """The panel: each fault's text, and below it when it was in force."""
    title = line(Fragment("NETWORK FAULTS", "title"), Fragment("  in force over the time above", "dim"))
    shown = shown_of(scene)
    rows = [] if shown is None else list(_rows(scene, shown, size.width, marks))
    if not rows:
        rows = [line(Fragment("none", "dim"))]
    left_out = len(rows) - (size.height - 1)
    if left_out > 0:
        rows = [*rows[: size.height - 2], line(Fragment(f"{marks.more} {left_out + 1} more: page 3", "dim"))]
    return headed(title, rows, size)


def _rows(scene: Scene, shown: Shown, width: int, marks: Marks) -> Iterator[Line]:
    plans = scene.faults.plans
    ends = [*(plan.from_us for plan in plans[1:]), scene.now_us]
    for fault in dict.fromkeys(fault for plan in plans for fault in plan.faults):
        times = [(plan.from_us, end) for plan, end in zip(plans, ends, strict=True) if fault in plan.faults]
        yield _row(fault, [(shown.across(begin), shown.across(end)) for begin, end in times], width, marks)


def _row(fault: str, times: list[tuple[float, float]], width: int, marks: Marks) -> Line:
    """The bar, with the fault's text written over its beginning."""
    cells = width - SCALE
    bar = [
        marks.empty if any(begin <= cell / max(1, cells - 1) <= end for begin, end in times) else " "
        for cell in range(cells)
    ]
    name = f" {fault} "[:cells]
    start = min(next((place for place, cell in enumerate(bar) if cell != " "), 0), cells - len(name))
    bar[start : start + len(name)] = name
    return line(" " * SCALE, Fragment("".join(bar), "news"))
