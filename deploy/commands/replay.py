"""`robots replay`: a recorded run on the screens, at any speed, back and forth; or its stories, as plain lines."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from fractions import Fraction
from importlib import import_module
from typing import Annotated, Final

from cyclopts import App, Parameter

from deploy.commands.output import print_result, report
from deploy.commands.outputs import RunStory, answer_line
from deploy.commands.recorded_run import load_recording
from deploy.config.flags import Given, takes
from deploy.config.settings import PlaceSettings, load_place
from deploy.config.values import duration
from deploy.errors import UsageError
from telemetry.console import harmless, verdict_lines
from telemetry.drawing.marks import Marks
from telemetry.events import RunStarted
from telemetry.record.folder import find_run
from telemetry.stories.stories import Stories
from telemetry.view import View, fold
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
@takes(PlaceSettings)
def replay(
    run: Annotated[
        str | None, Parameter(allow_leading_hyphen=False, help="Which recorded run. [default: latest]")
    ] = None,
    /,
    *,
    speed: Annotated[str, Parameter(metavar="SPEED", help="1/8x to 64x: seconds of the run in one.")] = "1x",
    from_: Annotated[str | None, Parameter(name="--from", metavar="TIME", help="Begin so long after go.")] = None,
    ui: Annotated[str, Parameter(metavar="NAME", help="The screens (tui) or lines (plain).")] = "auto",
    ascii_: Annotated[bool, Parameter(name="--ascii", help="Draw with ASCII letters alone.")] = False,
    hz: Annotated[int, Parameter(name="--hz", metavar="N", help="Paint so often in a second, 1 to 30.")] = 4,
    given: Given,
) -> int:
    """Show a recorded run again."""
    place = load_place(given)
    times = _speed(speed)
    from_us = _from_us(from_)
    is_on_screens = _is_on_screens(ui, place.json_)
    if not 1 <= hz <= 30:
        raise UsageError(f"--hz: {hz} is outside of what is allowed: 1 to 30")
    recording, notes = load_recording(find_run(place.runs_dir, run or "latest"))
    if not is_on_screens:
        _print(recording, notes, from_us, place.json_)
        return 0
    stage = Replay(recording, lambda: time.monotonic_ns() // 1000, times)
    if from_us is not None:
        stage.seek(_go_us(recording) + from_us - recording.start_us)
    module = import_module(_APP)
    return int(module.run_app(module.WatchApp(stage, None, Marks(ascii_), hz, notes)))


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


def _is_on_screens(ui: str, is_json: bool) -> bool:
    """Raises UsageError where the screens are asked for and cannot be shown."""
    if ui not in ("auto", "tui", "plain"):
        raise UsageError(f"--ui: {ui!r} is none; allowed is auto, tui or plain")
    is_terminal = os.isatty(0) and os.isatty(1) and os.environ.get("TERM", "dumb") != "dumb"
    if ui == "tui" and not is_terminal:
        raise UsageError("--ui: tui needs a terminal; allowed here is plain")
    if ui != "auto" or not is_terminal:
        return ui == "tui"
    return not is_json and _is_large()


def _is_large() -> bool:
    size = os.get_terminal_size(1)
    return size.columns >= 80 and size.lines >= 24


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
    stories, view, go_us = Stories(), View(), _go_us(recording)
    for stamped in recording.events:
        view = fold(view, stamped)
        stories.handle(stamped, view)
    rows = [
        RunStory((story.at_us - go_us) / 1e6, story.text, story.about, story.tone)
        for story in stories.until(recording.end_us)
    ]
    return [row for row in rows if from_us is None or row.at_s >= from_us / 1e6]


def _line_of(story: RunStory) -> str:
    return f"{story.at_s:8.3f}s  {harmless(story.text)}"


def _verdict(recording: Recording) -> Iterator[str]:
    if recording.result is not None:
        yield from map(harmless, verdict_lines(recording.result))
