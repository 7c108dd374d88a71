"""`robots replay`: a recorded run on the screens, at any speed, back and forth; or its stories, as plain lines."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from importlib import import_module
from typing import Annotated, Final

from cyclopts import App, Parameter

from deploy.commands.output import print_result, report, width_of
from deploy.commands.outputs import RunStory, answer_line
from deploy.commands.recorded_run import load_recording
from deploy.config.flags import Given, takes
from deploy.config.settings import ScreenSettings, load_model
from deploy.config.values import duration
from deploy.errors import UsageError
from deploy.observing.results import result_lines
from deploy.watching.leaving import Appearance
from deploy.watching.terminal import choose_ui, seen_terminal
from telemetry.console import harmless
from telemetry.drawing.marks import Marks
from telemetry.events import RunStarted
from telemetry.plain.timeline import dated
from telemetry.record.folder import find_run
from telemetry.stories.stories import Stories
from telemetry.watch.playback import Replay, within
from telemetry.watch.recording import Recording

EXAMPLES: Final = """\
Examples:

  robots replay
  robots replay 7b08e1 --speed 1/4x
  robots replay latest --from 5s --speed 4x
  robots replay --ui plain | less
  robots replay --json | jq -r .text

Keys: space plays and stands, , and . step by one event, < and > by one tick,
+ and - change the speed, ? shows all. Plain lines are printed at once.
"""

_APP: Final = "telemetry.watch.app"  # it brings Textual with it: loaded only when it is shown

app = App(name="replay", help_epilogue=EXAMPLES)


@app.default
@takes(ScreenSettings)
def replay(
    run: Annotated[
        str | None, Parameter(allow_leading_hyphen=False, help="Which recorded run. [default: latest]")
    ] = None,
    /,
    *,
    speed: Annotated[str, Parameter(metavar="SPEED", help="1/8x to 64x: seconds of the run in one.")] = "1x",
    from_: Annotated[str | None, Parameter(name="--from", metavar="TIME", help="Begin so long after go.")] = None,
    given: Given,
) -> int:
    """Show a recorded run again."""
    settings = load_model(ScreenSettings, given)
    times, from_us = _speed(speed), _from_us(from_)
    ui = choose_ui(settings.ui, seen_terminal(os.environ), is_json=settings.json_)
    recording, notes = load_recording(find_run(settings.runs_dir, run or "latest"))
    if ui == "tui":
        begin_us = recording.start_us if from_us is None else _go_us(recording) + from_us
        return show_recording(recording, notes, Appearance(settings.hz, settings.ascii), times, begin_us)
    _print(recording, notes, from_us, settings.json_)
    return 0


def show_recording(
    recording: Recording, notes: Sequence[str], appearance: Appearance, speed: float = 1.0, begin_us: int = 0
) -> int:
    """Show it on the screens, from `begin_us` of the wall clock on, until the person leaves: the app's exit code."""
    stage = Replay(recording, lambda: time.monotonic_ns() // 1000, speed)
    stage.seek(begin_us - recording.start_us)
    module = import_module(_APP)
    app = module.WatchApp(stage, None, Marks(appearance.is_ascii), appearance.hertz, notes)
    return int(module.run_app(app))


def _speed(text: str) -> float:
    """A speed such as `4x`, `1/4x` or `0.5`. Raises UsageError."""
    try:
        speed = float(Fraction(text.removesuffix("x")))
    except (ValueError, ZeroDivisionError, OverflowError):
        speed = 0.0
    if within(speed) != speed:
        raise UsageError(f"--speed: {text!r} is none; allowed is 1/8x to 64x, such as 4x or 0.5x")
    return speed


def _from_us(text: str | None) -> int | None:
    """Microseconds after go; None from the first event on. Raises UsageError."""
    if text is None:
        return None
    try:
        return duration(0)(text)
    except ValueError as error:
        raise UsageError(f"--from: {error}") from None


def _go_us(recording: Recording) -> int:
    """When `go` was given; when it never was, the first event."""
    started = (each.wall_us for each in recording.events if isinstance(each.event, RunStarted))
    return next(started, recording.start_us)


def _print(recording: Recording, notes: list[str], from_us: int | None, is_json: bool) -> None:
    """The stories and the verdict, and on standard error what is not there as it should be."""
    for note in notes:
        report(f"robots: {note}")
    stories = _stories(recording, from_us)
    lines = [answer_line(story) for story in stories] if is_json else [*map(_line_of, stories), *_verdict(recording)]
    if lines:
        print_result("\n".join(lines))


def _stories(recording: Recording, from_us: int | None) -> list[RunStory]:
    """All that begin then or later, in order."""
    stories, go_us = Stories(), _go_us(recording)
    for stamped in recording.events:
        stories.handle(stamped)
    rows = [
        RunStory((story.at_us - go_us) / 1e6, story.text, story.about, story.tone)
        for story in stories.until(recording.end_us)
    ]
    return [row for row in rows if from_us is None or row.at_s >= from_us / 1e6]


def _line_of(story: RunStory) -> str:
    return harmless(dated(story.text, None if story.at_s < 0 else story.at_s))


def _verdict(recording: Recording) -> Iterator[str]:
    if recording.result is not None and recording.folder is not None:
        yield from result_lines(recording.result, recording.folder, width=width_of(sys.stdout))
