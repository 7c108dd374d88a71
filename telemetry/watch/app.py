"""The app: paints the page that a person chose a few times a second, and turns keys into what they chose.

It only reads the stage; what changes a run goes through the controls, in a thread, because it may take seconds.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec.structs import replace
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Footer

from telemetry.drawing.line import Size, line
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Chosen, Moment, Page
from telemetry.drawing.pages import FOOTER, PAGES, SMALLEST, screen
from telemetry.watch.knobs import LEFT, KnobsApp
from telemetry.watch.painting import Painting
from telemetry.watch.stage import Controls, Stage


class WatchApp(KnobsApp):
    """`controls` is None when nothing may be changed."""

    CSS = "Painting { height: 1fr; width: 1fr; }"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar = [
        Binding("1", "page('overview')", "View", id="page.overview"),
        Binding("q", "leave", "Quit", id="leave"),
        Binding("space", "pause", "Pause", id="pause"),
        Binding("j,down", "move(1)", "Down", show=False, id="down"),
        Binding("k,up", "move(-1)", "Up", show=False, id="up"),
    ]

    def __init__(self, stage: Stage, controls: Controls | None, marks: Marks) -> None:
        super().__init__()
        self.stage = stage
        self.controls = controls
        self.marks = marks
        self.chosen = Chosen()
        self._frozen: Moment | None = None

    def compose(self) -> ComposeResult:
        self._painting = Painting(id="page")
        yield self._painting
        yield Footer()

    def on_mount(self) -> None:
        self._timer = self.set_interval(1 / self.chosen.hertz, self.advance)
        self.call_after_refresh(self.advance)

    def advance(self) -> None:
        """Fold what is new, and paint."""
        self.stage.advance()
        self.paint()

    def paint(self) -> None:
        """Paint the page at once: after a key, nothing waits for the next tick."""
        size = Size(self.size.width, self.size.height - FOOTER)
        painting = self._painting  # not by a query: a dialog may be above it
        moment = self.moment
        if self.size.width < SMALLEST.width or self.size.height < SMALLEST.height:
            need = f"need {SMALLEST.width}x{SMALLEST.height}, have {self.size.width}x{self.size.height}"
            painting.show([line(need), line("or use --ui plain")])
        elif moment is None:
            painting.show([line(""), line(f"  {self.stage.status.trouble or 'the run begins …'}")])
        else:
            painting.show(screen(moment, size, self.marks))

    @property
    def moment(self) -> Moment | None:
        """What is shown; None while nothing is known."""
        if self._frozen is not None:
            return self._frozen._replace(chosen=self.chosen)
        scene = self.stage.scene
        return None if scene is None else Moment(scene, self.stage.status, self.chosen)

    def choose(self, **changes: object) -> None:
        """Change what is shown."""
        self.chosen = replace(self.chosen, **changes)
        self.paint()

    def action_page(self, page: Page) -> None:
        self.choose(page=page, cursor=0, robot="", panel="")

    def action_move(self, rows: int) -> None:
        if self.moment is not None:
            last = len(PAGES[self.chosen.page].rows(self.moment)) - 1
            self.choose(cursor=max(0, min(last, self.chosen.cursor + rows)))

    def action_leave(self) -> None:
        self.exit(LEFT)
