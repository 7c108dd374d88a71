"""What every part of the app stands on: the moment that is shown, and how it is painted a few times a second.

The stage is only read here. Only the page that is seen is drawn. A key paints at once: it waits for no next round.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from msgspec.structs import replace
from textual.app import ComposeResult
from textual.binding import Binding
from textual.timer import Timer
from textual.widgets import Input

from telemetry.drawing.help import help_sheets
from telemetry.drawing.keys import KEYS, footer
from telemetry.drawing.line import Line, Size, fitted, line
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Chosen, Moment
from telemetry.drawing.pages import FOOTER, PAGES, SMALLEST, offered, screen
from telemetry.scene.scene import Scene
from telemetry.watch.knobs import KnobsApp
from telemetry.watch.painting import Painting
from telemetry.watch.stage import Controls, Stage

AWAY_S: Final = 10.0
"""When the run ends, the verdict is shown to a person who has pressed no key for so long; others are told its key."""


class WatchBase(KnobsApp):
    """`controls` is None when nothing may be changed; `notes` are shown at the beginning; `clock` is monotonic, in
    seconds."""

    CSS = """
    Painting { height: 1fr; width: 1fr; }
    #filter { dock: bottom; height: 1; border: none; padding: 0 1; display: none; }
    """
    AUTO_FOCUS = None  # keys belong to the page, unless the filter is typed
    BINDINGS: ClassVar = [
        Binding(key.keys, key.action, key.text, show=False, id=key.action, priority=key.action == "interrupt")
        for key in KEYS
        if key.action != "command_palette"  # Textual binds its own
    ]

    def __init__(
        self,
        stage: Stage,
        controls: Controls | None,
        marks: Marks,
        hertz: int = 4,
        notes: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.stage = stage
        self.controls = controls
        self.marks = marks
        self.chosen = Chosen(hertz=hertz)
        self.clock = clock
        self.crash = ""
        """The traceback of the error that ended the app, if one did."""
        self._notes = notes
        self._painting = Painting(id="page")
        self._rounds: Timer | None = None
        self._frozen: Scene | None = None
        self._sheet: int | None = None
        self._row = ""  # that the person chose
        self._pressed_s = clock()
        self._is_judged = False

    def compose(self) -> ComposeResult:
        yield self._painting
        yield Input(id="filter", placeholder="filter: words that must all match, such as r03 or parts.*")

    def on_mount(self) -> None:
        self.set_rate(self.chosen.hertz)
        self.call_after_refresh(self.advance)
        self.app_resume_signal.subscribe(self, lambda _app: self.refresh(layout=True))  # the terminal is empty then
        for note in self._notes:
            self.notify(note, severity="warning", timeout=10, markup=False)

    def on_resize(self) -> None:
        self.call_after_refresh(self.paint)

    def set_rate(self, hertz: int) -> None:
        """Paint so many times a second."""
        if self._rounds is not None:
            self._rounds.stop()
        self._rounds = self.set_interval(1 / hertz, self.advance)

    def advance(self) -> None:
        """Fold what is new, and paint."""
        self.stage.advance()
        scene = self.stage.scene
        if self._frozen is not None and scene is not None:
            self.chosen = replace(self.chosen, behind=scene.seen - self._frozen.seen)
        self._offer_verdict()
        self._follow_row()
        self.paint()

    def paint(self) -> None:
        """Paint the page at once."""
        size = Size(*self.size)
        moment = self.moment
        if size.width < SMALLEST.width or size.height < SMALLEST.height:
            self._painting.show(_too_small(size))
            return
        pages = [] if moment is None else offered(moment.status)
        below = fitted(footer(moment, pages, size.width), size.width)
        self._painting.show([*self._above(moment, Size(size.width, size.height - FOOTER)), below])

    def _above(self, moment: Moment | None, size: Size) -> Sequence[Line]:
        """All but the line below; exactly as many lines as there is room for."""
        if self._sheet is not None:
            sheets = help_sheets(size, self.marks)
            return sheets[min(self._sheet, len(sheets) - 1)]
        if moment is None:
            waiting = line(f"  {self.stage.status.trouble or f'the run begins {self.marks.more}'}")
            return [line(""), waiting, *([line("")] * (size.height - 2))]
        return screen(moment, size, self.marks)

    @property
    def moment(self) -> Moment | None:
        """What is shown; None while nothing is known."""
        scene = self.stage.scene if self._frozen is None else self._frozen
        return None if scene is None else Moment(scene, self.stage.status, self.chosen)

    @property
    def rows(self) -> Sequence[str]:
        """What the cursor moves over."""
        moment = self.moment
        return [] if moment is None else PAGES[self.chosen.page].rows(moment)

    @property
    def cursor(self) -> int:
        """The row that is marked; of events that are followed it is the newest."""
        last = len(self.rows) - 1
        is_following = self.chosen.page == "events" and self.chosen.is_following
        return max(0, last if is_following else min(self.chosen.cursor, last))

    @property
    def row(self) -> str:
        """What is under the cursor; empty: nothing."""
        rows = self.rows
        return rows[self.cursor] if rows else ""

    @property
    def sheets(self) -> int:
        """Of the help, at this size."""
        return len(help_sheets(Size(self.size.width, self.size.height - FOOTER), self.marks))

    @property
    def shown(self) -> Sequence[Line]:
        """The lines on the screen."""
        return self._painting.lines

    def choose(self, **changes: object) -> None:
        """Change what is shown."""
        self.chosen = replace(self.chosen, **changes)
        self.paint()

    def _offer_verdict(self) -> None:
        """Go to the verdict when a run ends, or a replay has come to its end; but not away from what a person does."""
        status = self.stage.status
        is_due = status.result is not None and (status.mode == "live" or status.is_over)
        if is_due and not self._is_judged and self.chosen.page != "verdict":
            if self.clock() - self._pressed_s >= AWAY_S or status.mode == "replay":
                self.chosen = replace(self.chosen, page="verdict", cursor=0, robot="", panel="")
            else:
                self.notify("the run is over: 6 shows the verdict", timeout=8)
        self._is_judged = is_due

    def _follow_row(self) -> None:
        """The cursor stays on what the person chose, when other rows come before it."""
        rows = self.rows if self._row and self.chosen.page != "events" else []
        if self._row in rows and self.row != self._row:
            self.chosen = replace(self.chosen, cursor=list(rows).index(self._row))

    def on_key(self) -> None:
        self._pressed_s = self.clock()

    def _handle_exception(self, error: Exception) -> None:
        """Textual calls this for every error that was not caught. Who runs the app prints it, when the terminal is as
        it was: Textual's own account of it is coloured, and a hundred lines long."""
        self.crash = self.crash or "".join(traceback.format_exception(error))
        super()._handle_exception(error)
        self._exit_renderables.clear()


def _too_small(size: Size) -> list[Line]:
    return [
        line(f"need {SMALLEST.width}x{SMALLEST.height}, have {size.width}x{size.height}"),
        line("make the window larger, or use --ui plain"),
    ]
