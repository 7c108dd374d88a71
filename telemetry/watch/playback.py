"""Replays a run that is over: a stage whose time a person moves. All its events are there from the beginning.

A moment is a number of events and a time. Its scene is the fold of those events and of nothing else, however the person
came there. To go back, a copy of an earlier scene is taken, and what lies between is folded again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from typing import Final

from telemetry.drawing.moment import Status
from telemetry.scene.scene import Scene
from telemetry.watch.recording import Recording

SLOWEST: Final = 1 / 8
FASTEST: Final = 64.0
MOST_COPIES: Final = 128  # scenes that are kept to go back to: with 100 robots some hundred kilobytes each
CLOSEST_COPIES: Final = 500  # events between two of them, at least
MOST_AT_ONCE: Final = 3_000  # events that are folded in one advance of a replay that plays: a tenth of a second


class Replay:
    """Begins at the first event, and plays. `clock` is monotonic, in microseconds."""

    def __init__(self, recording: Recording, clock: Callable[[], int], speed: float = 1.0) -> None:
        self.recording = recording
        self._clock = clock
        self._times = [stamped.wall_us for stamped in recording.events]
        self._speed = within(speed)
        self._is_playing = True
        self._then_us = clock()
        self._at_us = recording.start_us
        self._count = 0
        self._scene = Scene(recording.settings, recording.dealt)
        self._copies = {0: self._copied()}
        self._spacing = max(CLOSEST_COPIES, -(-len(self._times) // MOST_COPIES))
        self.seek(0)

    @property
    def scene(self) -> Scene:
        """The scene at the moment."""
        return self._scene

    @property
    def status(self) -> Status:
        """The moment's place in the replay. The verdict is there all the time: it is known, and this is no live run."""
        recording = self.recording
        return Status(
            mode="replay",
            is_over=self._is_at_end,
            is_read_only=True,
            is_playing=self._is_playing,
            speed=self._speed,
            length_us=recording.end_us - recording.start_us,
            missed=recording.missed,
            result=recording.result,
            secret=recording.secret,
            folder=recording.folder,
        )

    def advance(self) -> None:
        """Go on, by the time that has passed. When it passes faster than events can be folded, the replay is slower."""
        now_us = self._clock()
        passed_us, self._then_us = now_us - self._then_us, now_us
        if not self._is_playing:
            return
        at_us = min(self._at_us + round(passed_us * self._speed), self.recording.end_us)
        count = bisect_right(self._times, at_us)
        if count > self._count + MOST_AT_ONCE:
            count = self._count + MOST_AT_ONCE
            at_us = self._times[count - 1]
        self._go(count, at_us)
        if self._is_at_end:
            self._is_playing = False

    def close(self) -> None:
        """Nothing was started."""

    def play(self, is_playing: bool) -> None:
        """Go on, or stand still. At the end, play from the beginning."""
        if is_playing and self._is_at_end:
            self.seek(0)
        self._is_playing = is_playing
        self._then_us = self._clock()

    def set_speed(self, speed: float) -> None:
        """So many seconds of the run in a second, from SLOWEST to FASTEST."""
        self._speed = within(speed)

    def seek(self, since_start_us: int) -> None:
        """Go to that time since the first event, or to the nearest that there is."""
        start_us, end_us = self.recording.start_us, self.recording.end_us
        at_us = min(max(start_us + since_start_us, start_us), end_us)
        self._go(bisect_right(self._times, at_us), at_us)

    def step(self, events: int) -> None:
        """So many events on, or back; then stand still."""
        self._is_playing = False
        if self._times:
            count = min(max(self._count + events, 1), len(self._times))
            self._go(count, self._times[count - 1])

    def step_ticks(self, ticks: int) -> None:
        """So many ticks of the robots on, or back; then stand still."""
        self._is_playing = False
        self.seek(self._at_us - self.recording.start_us + ticks * self.recording.settings.tick_us)

    @property
    def _is_at_end(self) -> bool:
        return self._count == len(self._times) and self._at_us >= self.recording.end_us

    def _go(self, count: int, at_us: int) -> None:
        """Have the scene of the first `count` events, at that time."""
        nearest = max(place for place in self._copies if place <= count)
        if count < self._count or nearest > self._count:
            self._scene, self._count = self._restored(nearest), nearest
        events = self.recording.events
        while self._count < count:
            self._scene.handle(events[self._count])
            self._count += 1
            if self._count % self._spacing == 0 and self._count not in self._copies:
                self._copies[self._count] = self._copied()
        self._scene.now_us = self._at_us = at_us

    def _copied(self) -> Scene:
        """The scene, to be kept; without its events, which are in the recording."""
        scene = self._scene.copy()
        scene.events = deque(maxlen=scene.events.maxlen)
        return scene

    def _restored(self, count: int) -> Scene:
        scene = self._copies[count].copy()
        kept = scene.events.maxlen or count
        scene.events = deque(self.recording.events[max(0, count - kept) : count], kept)
        return scene


def within(speed: float) -> float:
    """The speed, or the nearest that is possible."""
    return min(max(speed, SLOWEST), FASTEST)
