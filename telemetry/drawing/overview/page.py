"""The page that explains a run at a glance: how it converges, how each robot is, what disturbs it, what happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from telemetry.drawing.line import Fragment, Line, Size, beside, block, line, wrapped
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Moment
from telemetry.drawing.overview import so_far
from telemetry.drawing.overview.convergence import convergence
from telemetry.drawing.overview.fault_strip import fault_strip
from telemetry.drawing.overview.instability import instability
from telemetry.drawing.overview.parts_grid import NARROWEST, listed, parts_grid
from telemetry.phrases import counted, seconds
from telemetry.scene.scene import Scene

WIDE: Final = 110
"""From this width on, the promises stand beside all else."""

VERY_WIDE: Final = 180
"""From this width on there is a third column, and robots stand in columns."""

TALL: Final = 36
"""From this height on, faults have a strip of their own."""

_PROMISES: Final = 14  # rows: all of them, and the title
_UNSTABLE: Final = 8  # rows at least
_HIGHEST_CURVES: Final = 30
_MOST_CAUSES: Final = 2
_LATELY_US: Final = 5_000_000

_Panel = Callable[[Moment, Size, Marks], list[Line]]
_PANELS: Final[Mapping[str, _Panel]] = {
    "convergence": lambda moment, size, marks: convergence(moment.scene, size, marks),
    "robots": parts_grid,
    "stories": lambda moment, size, _: so_far.stories(moment.scene, size),
    "instability": lambda moment, size, marks: instability(moment.scene, size, marks),
    "promises": lambda moment, size, marks: so_far.promises(moment.scene, size, marks),
    "faults": lambda moment, size, marks: fault_strip(moment.scene, size, marks),
}
PANELS: Final = tuple(_PANELS)
"""Those that can fill the page."""


def rows(moment: Moment) -> Sequence[str]:
    """What the cursor moves over: the robots, as they are listed."""
    return [robot.name for robot in listed(moment)]


def draw(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    """The page."""
    top = _now(moment, size.width)
    rest = Size(size.width, size.height - len(top))
    panel = _PANELS.get(moment.chosen.panel)
    if panel is not None:
        return block([*top, *panel(moment, rest, marks)], size)
    columns = _three_columns if size.width >= VERY_WIDE else _two_columns
    return block([*top, *columns(moment, rest, marks)], size)


def _two_columns(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    gap = len(marks.divider)
    right = Size(max(NARROWEST, (size.width - gap) // 2), size.height)
    left = Size(size.width - gap - right.width, size.height)
    if size.width < WIDE:
        return beside(_narrow_left(moment, left, marks), parts_grid(moment, right, marks), marks.divider)
    robots = Size(right.width, max(right.height - _PROMISES - 1, right.height // 2))
    promises = Size(right.width, right.height - robots.height)
    column = [*parts_grid(moment, robots, marks), *_below(so_far.promises, moment, promises, marks)]
    return beside(_left(moment, left, marks, has_stories=True), column, marks.divider)


def _three_columns(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    gap = len(marks.divider)
    left, right = Size(56, size.height), Size(52, size.height)
    middle = Size(size.width - left.width - right.width - 2 * gap, size.height)
    promises = so_far.promises(moment.scene, Size(right.width, _PROMISES), marks)
    lines = Size(right.width, size.height - _PROMISES - 1)
    column = [*promises, *block([], Size(right.width, 1)), *so_far.stories(moment.scene, lines)]
    inner = beside(parts_grid(moment, middle, marks), column, marks.divider)
    return beside(_left(moment, left, marks, has_stories=False), inner, marks.divider)


def _narrow_left(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    """Without room for all promises: one line of them."""
    curves, unstable = Size(size.width, size.height // 2), Size(size.width, size.height // 4)
    stories = Size(size.width, size.height - curves.height - unstable.height - 1)
    return [
        *convergence(moment.scene, curves, marks),
        *instability(moment.scene, unstable, marks),
        *block([so_far.summary(moment.scene)], Size(size.width, 1)),
        *so_far.stories(moment.scene, stories),
    ]


def _left(moment: Moment, size: Size, marks: Marks, *, has_stories: bool) -> list[Line]:
    """The curves, and what disturbs them; stories where there is no column for them."""
    scene, strip = moment.scene, 6 if size.height >= TALL else 0
    lines = size.height // 4 if has_stories else 0
    curves = Size(size.width, min(_HIGHEST_CURVES, size.height - strip - lines - _UNSTABLE))
    unstable = size.height - strip - lines - curves.height
    return [
        *convergence(scene, curves, marks),
        *(fault_strip(scene, Size(size.width, strip), marks) if strip else []),
        *instability(scene, Size(size.width, unstable), marks),
        *(so_far.stories(scene, Size(size.width, lines)) if lines else []),
    ]


def _below(panel: Callable[..., list[Line]], moment: Moment, size: Size, marks: Marks) -> list[Line]:
    """The panel, below an empty line."""
    return [*block([], Size(size.width, 1)), *panel(moment.scene, Size(size.width, size.height - 1), marks)]


def _now(moment: Moment, width: int) -> list[Line]:
    """What goes on, in a sentence; or why nothing does."""
    causes = moment.status.diagnosis
    if not causes:
        calm = [line(Fragment(text)) for text in wrapped(f" {_phase(moment)}", width, 2)]
        harm = _harm(moment.scene)
        return [*calm, *(line(Fragment(text, "bad")) for text in wrapped(f" {harm}", width, 2))] if harm else calm
    texts = [f" {cause}" for cause in causes[:_MOST_CAUSES]]
    if len(causes) > _MOST_CAUSES:
        texts.append(f" and {len(causes) - _MOST_CAUSES} more reasons")
    return [line(Fragment(each, "bad")) for text in texts for each in wrapped(text, width, 2)]


def _harm(scene: Scene) -> str:
    """What harms the run just now: process faults that were injected lately, and what is unusual; empty for neither."""
    if scene.view.stopped is not None:
        return ""
    lately = [each for each in scene.faults.injections if each.at_us > scene.now_us - _LATELY_US and not each.why]
    counts = Counter(f"{each.verb} {each.victim}" for each in lately if each.verb != "resume")
    done = [text if times == 1 else f"{text} ({times} times)" for text, times in counts.most_common(_MOST_CAUSES)]
    unusual = [f"{about} ({rule})" for rule, about in list(scene.anomalies)[:_MOST_CAUSES]]
    sentences = [f"Injected in the last {_LATELY_US // 1_000_000} s: {', '.join(done)}."] if done else []
    sentences += [f"Unusual now: {', '.join(unusual)}."] if unusual else []
    return " ".join(sentences)


def _phase(moment: Moment) -> str:
    scene = moment.scene
    view, everyone = scene.view, len(scene.lasting)
    parts, tick = counted(len(scene.holders), "part"), seconds(scene.settings.tick_us)
    if scene.go_us is None and view.is_held_back:
        return f"{counted(view.born, 'robot')} wait for `go`, each with some of the {parts} of a secret."
    if scene.go_us is None:
        return f"The robots are being born, with some of the {parts} of a secret each. They gossip from `go` on."
    if view.stopped is not None:
        return f"The run is over ({view.stopped}). {_written(moment)}"
    if scene.complete < everyone:
        cut = [fault for fault in scene.faults.texts if fault.startswith("partition")]
        why = f" Nothing crosses: {cut[0]}." if cut else ""
        asks = f"Every {tick} each robot asks others what it lacks."
        return f"{asks} {scene.complete} of {everyone} know all {parts}.{why}"
    return f"All {counted(everyone, 'robot')} know all {parts}. {_written(moment)}"


def _written(moment: Moment) -> str:
    scene = moment.scene
    if scene.view.writer is not None:
        return f"{scene.view.writer} wrote the secret; no other can."
    if scene.view.is_written:
        return "The secret is written."
    if scene.view.stopped is not None:
        return "The secret was not written, as far as is known."
    return f"One that hears nothing new for {seconds(scene.settings.quiet_period_us)} writes the secret, once."
