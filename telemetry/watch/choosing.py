"""Keys that change what is shown, and nothing else: pages, the row under the cursor, filter, order, panels."""

from __future__ import annotations

import re
from typing import Final

from textual import events
from textual.widgets import Input

from telemetry.drawing.line import Line, text_of
from telemetry.drawing.moment import Page
from telemetry.drawing.pages import FOOTER, PAGES, offered
from telemetry.watch.base import WatchBase

RATES: Final = (2, 4, 10)
"""Times a second that the page may be painted."""
_WHEEL: Final = 3  # rows


class Choosing(WatchBase):
    """These keys work in every mode."""

    _left: tuple[Page, int] | None = None
    """The page from which a robot or a message was entered, and the cursor there."""
    _filter_before = ""

    def action_page(self, page: Page) -> None:
        if page not in offered(self.stage.status):
            if page in PAGES:
                self.notify("there is no verdict yet: it comes when the run is over")
            return
        self._sheet = None
        self._left = None
        first = {"robot": "", "event": "", "tab": 0, "panel": "", "filter": "", "sort": 0, "is_reversed": False}
        self._choose_first(page=page, is_following=True, **first)

    def action_move(self, rows: int) -> None:
        self._put_cursor(self.cursor + rows)

    def action_move_page(self, pages: int) -> None:
        self._put_cursor(self.cursor + pages * max(1, self.size.height // 2))

    def action_top(self) -> None:
        self._put_cursor(0)

    def action_end(self) -> None:
        self._put_cursor(len(self.rows) - 1)

    def _put_cursor(self, row: int) -> None:
        """A person who moves in the events does not follow the newest any more."""
        last = len(self.rows) - 1
        is_following = self.chosen.is_following and self.chosen.page != "events"
        self.choose(cursor=max(0, min(last, row)), is_following=is_following)
        self._row = self.row

    def _choose_first(self, **changes: object) -> None:
        """Show other rows, from the first on."""
        self._row = ""
        self.choose(cursor=0, **changes)

    def action_into(self) -> None:
        row, moment = self.row, self.moment
        if moment is None or not row or self.chosen.robot or self.chosen.event:
            return
        self._left = (self.chosen.page, self.cursor)
        if self.chosen.page == "events":
            self.choose(event=row, is_following=False, cursor=self.cursor)
        elif row in moment.scene.robots and "robots" in PAGES:
            self._choose_first(page="robots", robot=row, tab=0, panel="")

    def action_out(self) -> None:
        """Out of what was entered last, one thing at a time."""
        chosen = self.chosen
        if self._is_filtering:
            self._end_filter(self._filter_before)
        elif self._sheet is not None:
            self._sheet = None
            self.paint()
        elif chosen.robot or chosen.event:
            page, cursor = self._left or (chosen.page, 0)
            self.choose(robot="", event="", tab=0, page=page, cursor=cursor)
            self._row = self.row
            self._left = None
        elif chosen.panel:
            self.choose(panel="")
        elif chosen.filter:
            self._choose_first(filter="")

    def action_tab(self, tabs: int) -> None:
        self._choose_first(tab=self.chosen.tab + tabs)  # the page counts them round

    def action_robot(self, robots: int) -> None:
        moment = self.moment
        if moment is None or not self.chosen.robot:
            self.action_move(robots)
            return
        names = list(moment.scene.robots)
        place = names.index(self.chosen.robot) if self.chosen.robot in names else 0
        self._choose_first(robot=names[(place + robots) % len(names)] if names else "")

    def action_sort(self) -> None:
        self.choose(sort=self.chosen.sort + 1)

    def action_reverse(self) -> None:
        self.choose(is_reversed=not self.chosen.is_reversed)

    def action_trouble(self) -> None:
        self._choose_first(is_only_trouble=not self.chosen.is_only_trouble)

    def action_follow(self) -> None:
        self.choose(is_following=not self.chosen.is_following)

    def action_maximise(self) -> None:
        """The page's panels, one after the other, then the whole page."""
        panels = ["", *PAGES[self.chosen.page].panels]
        place = panels.index(self.chosen.panel) if self.chosen.panel in panels else 0
        self.choose(panel=panels[(place + 1) % len(panels)])

    def action_refresh_rate(self) -> None:
        hertz = next((rate for rate in RATES if rate > self.chosen.hertz), RATES[0])
        self.set_rate(hertz)
        self.choose(hertz=hertz)
        self.notify(f"painted {hertz} times a second", timeout=2)

    def action_help(self) -> None:
        """The first sheet, the next one, and then the page again."""
        self._sheet = 0 if self._sheet is None else self._sheet + 1
        if self._sheet >= self.sheets:
            self._sheet = None
        self.paint()

    # The filter is a line at the bottom while it is typed.
    @property
    def _is_filtering(self) -> bool:
        return bool(self._input.display)

    @property
    def _input(self) -> Input:
        return self.screen_stack[0].query_one("#filter", Input)

    def action_filter(self) -> None:
        self._filter_before = self.chosen.filter
        self._input.value = self.chosen.filter
        self._input.display = True
        self._input.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.input.id == "filter" and self._is_filtering:
            self._choose_first(filter=event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input.id == "filter":
            self._end_filter(event.value)

    def _end_filter(self, text: str) -> None:
        self._input.display = False
        self.screen.set_focus(None)
        self._choose_first(filter=text)

    def on_click(self, event: events.Click) -> None:
        """The row that was clicked; clicked twice: into it."""
        if len(self.screen_stack) > 1 or self._sheet is not None:
            return
        row = self._row_at(event.screen_x, event.screen_y)
        if row is not None:
            self._put_cursor(row)
            if event.chain == 2:
                self.action_into()

    def on_mouse_scroll_down(self) -> None:
        self.action_move(_WHEEL)

    def on_mouse_scroll_up(self) -> None:
        self.action_move(-_WHEEL)

    def _row_at(self, x: int, y: int) -> int | None:
        """A row is the one whose name stands there, nearest to the mouse, or else that many lines from the cursor's."""
        rows, lines = self.rows, self.shown
        if y >= len(lines) - FOOTER:
            return None
        text = text_of(lines[y])
        names = {match.start(): match.group() for match in re.finditer(r"[\w:/]+", text)}
        found = [(abs(at - x), rows.index(name)) for at, name in names.items() if name in rows]
        if found:
            return min(found)[1]
        under = [number for number, each in enumerate(lines) if _is_chosen(each)]
        return self.cursor + y - under[-1] if under else None


def _is_chosen(drawn: Line) -> bool:
    return any(fragment.tone == "chosen" for fragment in drawn)
