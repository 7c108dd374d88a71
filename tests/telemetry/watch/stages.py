"""A live run as the app sees one, moved by a test, and how a test presses keys. No tests here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from msgspec.structs import replace

from telemetry.drawing.line import text_of
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Status
from telemetry.scene.scene import Scene
from telemetry.watch.app import WatchApp
from telemetry.watch.recording import Recording
from telemetry.watch.stage import Controls, Stage


class LiveRun:
    """A stage: the events of a recording come as a test lets them."""

    def __init__(self, recording: Recording, events: int = 0) -> None:
        self.scene: Scene | None = Scene(recording.settings, recording.dealt)
        self.status = Status()
        self.is_closed = False
        self._recording = recording
        self._due = 0
        self.let(events)
        self.advance()

    def let(self, events: int) -> None:
        """So many more events come with the next advance."""
        self._due += events

    def end(self) -> None:
        """The run is over, and was judged."""
        self.status = replace(self.status, is_over=True, result=self._recording.result, secret=self._recording.secret)

    def advance(self) -> None:
        if self.scene is not None:
            first = self.scene.seen
            for stamped in self._recording.events[first : first + self._due]:
                self.scene.handle(stamped)
            self._due = 0

    def close(self) -> None:
        self.is_closed = True


class Seconds:
    """The app's clock."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Person:
    """Presses keys, and reads the screen."""

    def __init__(self, app: WatchApp, press: Callable[..., Awaitable[None]], settle: Callable[[], Awaitable[None]]):
        self.app = app
        self._press = press
        self.settle = settle

    async def press(self, *keys: str) -> None:
        """These keys, one after the other."""
        await self._press(*keys)
        await self.settle()

    async def advance(self) -> None:
        """The next round of painting."""
        self.app.advance()
        await self.settle()

    @property
    def screen(self) -> str:
        """What the app shows, as text."""
        return "\n".join(text_of(each).rstrip() for each in self.app.shown)

    @property
    def notes(self) -> list[str]:
        """The short messages that are shown."""
        return [note.message for note in self.app._notifications]


def watch(
    stage: Stage,
    story: Callable[[Person], Awaitable[None]],
    *,
    size: tuple[int, int] = (80, 24),
    controls: Controls | None = None,
    is_ascii: bool = False,
    clock: Callable[[], float] | None = None,
    notes: Sequence[str] = (),
) -> WatchApp:
    """Run the app while a person does what `story` tells."""
    app = WatchApp(stage, controls, Marks(is_ascii), notes=notes, clock=clock or Seconds())

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await story(Person(app, pilot.press, pilot.pause))

    asyncio.run(run())
    return app
