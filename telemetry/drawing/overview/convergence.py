"""How the robots converge: curves over time beside the theory, with what disturbed the run marked on the axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from telemetry.drawing.curve import LETTERS, Picture, Point, axis
from telemetry.drawing.line import Fragment, Line, Size, Tone, block, line
from telemetry.drawing.marks import Marks
from telemetry.expectation import Expected, RunTerms, expected
from telemetry.phrases import seconds, share
from telemetry.scene.curve import Sample
from telemetry.scene.scene import Scene

LEAST_TICKS: Final = 5
"""So much time is shown at least, from `go` on."""

SCALE: Final = 5
"""Cells left of the picture, for its scale."""
_ROOM_FOR_WORDS: Final = 50  # cells, for longer names of the curves
_ROOM_FOR_HALF: Final = 40  # cells, for the time in the middle
_CURVES: Final = ("theory", "least", "mean")  # the last is drawn above the others


class Shown(NamedTuple):
    """The time that is shown, from `go` on."""

    from_us: int
    length_us: int

    def across(self, at_us: float) -> float:
        """Where a moment of the wall clock lies, 0..1 if it is shown."""
        return (at_us - self.from_us) / self.length_us


def shown_of(scene: Scene) -> Shown | None:
    """All the time since `go`; but once all are complete, not much longer than until then. None before `go`."""
    if scene.go_us is None:
        return None
    length_us = scene.now_us - scene.go_us
    samples = scene.curve.samples
    if samples and samples[-1].least == 1:
        length_us = min(length_us, (_changed_us(samples) - scene.go_us) * 3 // 2)
    return Shown(scene.go_us, max(LEAST_TICKS * scene.settings.tick_us, length_us))


def convergence(scene: Scene, size: Size, marks: Marks) -> list[Line]:
    """The panel."""
    shown = shown_of(scene)
    if shown is None:
        return block([_title(size), *_before_go(scene)], size)
    theory = _theory(scene)
    caption = [line(Fragment(text, "dim")) for text in _caption(scene, theory)]
    rows = max(1, size.height - 3 - len(caption))
    picture = Picture(Size(size.width - SCALE, rows))
    for name in _CURVES:
        picture.draw(_points(scene, shown, theory, name), name)
    scaled = [(Fragment(_scale(row, rows), "dim"), *drawn) for row, drawn in enumerate(picture.lines(marks))]
    below = [_marked(scene, shown, size.width - SCALE, marks), _times(scene, shown, size.width - SCALE)]
    return block([_title(size), *scaled, *((Fragment(" " * SCALE), *each) for each in below), *caption], size)


def _theory(scene: Scene) -> Expected:
    """What theory expects of this run."""
    settings = scene.settings
    run = RunTerms(settings.robots, tuple(scene.holders.values()), scene.go_us or 0, settings.tick_us)
    return expected(run, scene.faults.plans, (scene.since_go_us or 0) / settings.tick_us)


def _changed_us(samples: Sequence[Sample]) -> int:
    """When the shares last changed."""
    for before, after in zip(samples[-2::-1], samples[:0:-1], strict=True):
        if (before.mean, before.least) != (after.mean, after.least):
            return after.at_us
    return samples[0].at_us


def _title(size: Size) -> Line:
    """The title, and which letter and tone each curve has."""
    is_wide = size.width >= _ROOM_FOR_WORDS
    names: Sequence[tuple[str, Tone]] = (
        ("mean robot" if is_wide else "mean", "mean"),
        ("least robot" if is_wide else "least", "least"),
        ("theory", "theory"),
    )
    legend = [Fragment(f" {LETTERS[tone]} {name}", tone) for name, tone in names]
    return line(Fragment("CONVERGENCE", "title"), *legend)


def _before_go(scene: Scene) -> Iterator[Line]:
    yield line("")
    yield line(f"{scene.view.born} of {scene.settings.robots} robots are born.")
    yield line(Fragment("The curves begin with the order `go`.", "dim"))


def _points(scene: Scene, shown: Shown, theory: Expected, name: str) -> list[Point]:
    if name == "theory":
        points = [(shown.across(shown.from_us + step * theory.step_us), up) for step, up in enumerate(theory.shares)]
        points = [point for point in points if point[0] <= 1]
        return [*points, (1.0, points[-1][1])]
    samples = [(sample.at_us, sample.mean if name == "mean" else sample.least) for sample in scene.curve.samples]
    before = [up for at_us, up in samples if at_us <= shown.from_us]
    after = [(shown.across(at_us), up) for at_us, up in samples if at_us > shown.from_us]
    start = before[-1] if before else 0.0
    now = min(1.0, shown.across(scene.now_us))
    return [(0.0, start), *after, (now, after[-1][1] if after else start)]


def _scale(row: int, rows: int) -> str:
    names = {0: "100% ", rows - 1: "  0% "}
    if rows >= 5:
        names[(rows - 1) // 2] = " 50% "
    return names.get(row, " " * SCALE)


def _marked(scene: Scene, shown: Shown, width: int, marks: Marks) -> Line:
    """The ruler, with a mark wherever the plan changed or a process fault was injected."""
    cells = [Fragment(marks.ruler, "dim")] * width
    changes = [(plan.from_us, marks.change, "news") for plan in scene.faults.plans[1:]]
    injections = [(each.at_us, marks.injection, "bad") for each in scene.faults.injections if not each.why]
    for at_us, mark, tone in [*injections, *changes]:
        across = shown.across(at_us)
        if 0 <= across <= 1:
            cells[round(across * (width - 1))] = Fragment(mark, tone)  # type: ignore[arg-type]
    return tuple(cells)


def _times(scene: Scene, shown: Shown, width: int) -> Line:
    ticks = shown.length_us / scene.settings.tick_us
    half = [(0.5, f"{shown.length_us / 2e6:.3g} s")] if width >= _ROOM_FOR_HALF else []
    return axis([(0, "go"), *half, (1, f"{shown.length_us / 1e6:.3g} s = {ticks:.0f} ticks")], width)


def _caption(scene: Scene, theory: Expected) -> Iterator[str]:
    """When all are complete: measured, and foreseen."""
    complete_us = _all_complete_us(scene)
    if complete_us is not None and scene.go_us is not None:
        after_us = complete_us - scene.go_us
        yield f"complete after {after_us / scene.settings.tick_us:.1f} ticks ({seconds(after_us)})"
    if theory.duration is None:
        is_cut = any(fault.startswith("partition") for fault in scene.faults.texts)
        why = "a partition" if is_cut else f"{share(theory.loss)} is lost"
        yield f"theory: no end in sight, {why}"
        return
    least, most = theory.duration
    hopeful = "" if theory.is_reliable else "too hopeful here, "
    if len(scene.lasting) < len(scene.robots):
        hopeful = "all alive, "
    yield f"theory: {hopeful}{least:.1f} to {most:.1f} ticks"


def _all_complete_us(scene: Scene) -> int | None:
    """Since when the mean share is one; None if it is not."""
    since = None
    for sample in reversed(scene.curve.samples):
        if sample.mean < 1:
            break
        since = sample.at_us
    return since
