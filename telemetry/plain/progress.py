"""Prints what happens in a run, in order of time: its stories, how far the robots are when that has changed, that the
server does not answer, and why there is no progress, each cause once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from telemetry.console import harmless
from telemetry.diagnosis.stalls import StallWatch
from telemetry.events import RunStarted, Stamped
from telemetry.phrases import counted, seconds, share
from telemetry.pipeline import Next
from telemetry.plain.timeline import HELD_BACK_US, Timeline
from telemetry.stories.stories import Stories
from telemetry.stories.story import OpenStory, Story
from telemetry.view import View

EVERY_US: Final = 1_000_000
"""How often at most it is printed how far the robots are."""

SILENT_S: Final = 1.0
"""A server that does not answer for so long is news."""


class Progress:
    """A handler for events, and `observe` for the view in between; `close` prints what is held back.

    `write_line` prints a line. All times are of the run's wall clock. `stalls` notices when there is no progress.
    """

    def __init__(self, write_line: Callable[[str], None], stalls: StallWatch | None = None) -> None:
        self._timeline = Timeline(lambda line: write_line(harmless(line)))
        self._stories = Stories()
        self._stalls = stalls
        self._read = 0  # stories that are whole, and were handed on
        self._begun: set[tuple[int, tuple[str, ...]]] = set()  # stories of which the beginning was handed on
        self._shown: tuple[object, ...] = ()
        self._shown_us: int | None = None
        self._silent_us: int | None = None
        self._newest_us = 0  # the newest event: until then the view is known

    def handle(self, stamped: Stamped, following: Next) -> None:
        if self._timeline.go_us is None and isinstance(stamped.event, RunStarted):
            self._timeline.go_us = stamped.wall_us
        self._newest_us = max(self._newest_us, stamped.wall_us)
        self._stories.handle(stamped)
        following(stamped)

    def observe(self, view: View, now_us: int, away_s: float = 0.0) -> None:
        """Print what is due at `now_us`, with the view of that moment; the server has not answered for `away_s`
        seconds."""
        away_us = round(away_s * 1e6)
        if away_s >= SILENT_S:
            self._report_silence(now_us, now_us - away_us)
        elif self._silent_us is not None:
            self._timeline.add(now_us, f"the server answers again, after {seconds(now_us - self._silent_us)}")
            self._silent_us = None
        if away_s < SILENT_S:
            self._report_state(view, now_us)
        self._report_stalls(view, now_us, away_s)
        self._write_until(now_us - away_us - HELD_BACK_US)

    def close(self) -> None:
        """The run is over, or is left: print all that is left."""
        self._stories.close()
        self._pass_on()
        self._timeline.write_all()

    def _write_until(self, until_us: int) -> None:
        """Print what is known until that moment; an open story holds back what came after its beginning."""
        self._stories.settle(until_us)
        self._pass_on()
        held_us = until_us
        for story in self._stories.open:
            if _id_of(story) in self._begun:
                continue
            if story.due_us <= until_us and not story.members:
                self._begin(story, story.due_us)
            else:
                held_us = min(held_us, story.at_us - 1)
        self._timeline.write_until(held_us)

    def _pass_on(self) -> None:
        for story in self._stories.whole[self._read :]:
            if _id_of(story) not in self._begun:
                self._timeline.add(story.at_us, story.text)
            elif story.ended_us is not None:
                self._timeline.add(story.ended_us, story.sequel)
        self._read = len(self._stories.whole)

    def _begin(self, story: OpenStory, now_us: int) -> None:
        self._begun.add(_id_of(story))
        self._timeline.add(story.at_us, story.so_far(now_us, is_over=False).text)

    def _report_silence(self, now_us: int, since_us: int) -> None:
        """Once, and at once: what began before is told as far as it is known."""
        if self._silent_us is not None:
            return
        self._silent_us = since_us
        self._pass_on()
        for story in self._stories.open:
            if story.at_us <= since_us and _id_of(story) not in self._begun and not story.members:
                self._begin(story, now_us)
        self._timeline.add(since_us, "the server does not answer any more")
        self._timeline.write_until(since_us)

    def _report_state(self, view: View, now_us: int) -> None:
        """How far the robots are, if that has changed; that all are complete is a story of its own."""
        state = (view.born, view.share, view.complete)
        if self._shown_us is None:
            self._shown, self._shown_us = state, now_us
        if not view.dealt or now_us - self._shown_us < EVERY_US or state == self._shown:
            return
        self._shown, self._shown_us = state, now_us
        if view.complete < view.dealt + view.joined:
            self._timeline.add(min(now_us, self._newest_us), state_text(view))

    def _report_stalls(self, view: View, now_us: int, away_s: float) -> None:
        if self._stalls is None:
            return
        if away_s >= SILENT_S:
            self._stalls.forget(now_us)
        for line in self._stalls.observe(view, now_us):
            self._timeline.add(now_us, line)


def state_text(view: View) -> str:
    """How far the robots are."""
    robots = view.dealt + view.joined
    if view.started_us is None:
        return f"{view.born} of {counted(robots, 'robot')} born"
    complete = f"{view.complete or 'none'} of {robots} {'are' if view.complete > 1 else 'is'} complete"
    unborn = f", {robots - view.born} not born yet" if view.born < robots else ""
    lost = f", {share(view.lost / view.offered)} of them lost" if view.offered else ""
    return (
        f"robots hold {share(view.share)} of all parts, {complete}{unborn}; {counted(view.offered, 'envelope')}{lost}"
    )


def _id_of(story: Story | OpenStory) -> tuple[int, tuple[str, ...]]:
    return story.at_us, story.about
