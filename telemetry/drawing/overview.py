"""The page that explains a run at a glance: how it converges, how each robot is, and what just happened."""

from __future__ import annotations

from collections.abc import Sequence

from telemetry.drawing.curve import Picture, axis
from telemetry.drawing.line import Fragment, Line, Size, beside, block, headed, line
from telemetry.drawing.marks import TONES, Marks
from telemetry.drawing.moment import Moment
from telemetry.scene.states import states_of


def rows(moment: Moment) -> Sequence[str]:
    """What the cursor moves over."""
    return moment.scene.robots


def draw(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    """The page."""
    left = Size(size.width // 2, size.height)
    right = Size(size.width - left.width - 3, size.height)
    return beside(_left(moment, left, marks), _robots(moment, right, marks), marks.divider)


def _left(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    upper = Size(size.width, size.height // 2)
    lower = Size(size.width, size.height - upper.height)
    stories = [line(story.text) for story in moment.scene.stories.until(moment.scene.now_us)]
    return [
        *_convergence(moment, upper, marks),
        *headed(line(Fragment("WHAT HAPPENED", "title")), stories[-lower.height + 1 :], lower),
    ]


def _convergence(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    scene = moment.scene
    picture = Picture(Size(size.width, size.height - 2))
    samples = scene.curve.samples
    if samples and scene.go_us is not None:
        span_us = max(1, scene.now_us - scene.go_us)
        for name in ("mean", "least"):
            points = [((sample.at_us - scene.go_us) / span_us, getattr(sample, name)) for sample in samples]
            picture.draw([point for point in points if point[0] >= 0], name)
    title = line(Fragment("CONVERGENCE", "title"), Fragment("  mean", "mean"), Fragment("  least", "least"))
    return block([title, *picture.lines(marks), axis([(0, "0s")], size.width)], size)


def _robots(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    scene, lines = moment.scene, []
    for robot, state in states_of(scene).items():
        held = scene.held(robot).bit_count()
        lines.append(line(f"{robot} ", Fragment(f"{marks.states[state]} {state:<9}", TONES[state]), f" {held:3}"))
    return headed(line(Fragment("ROBOTS", "title")), lines, size)
