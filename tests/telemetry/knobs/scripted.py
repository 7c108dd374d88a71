"""A run by script: events at times that a test gives, and the scene that they make. No tests here."""

from __future__ import annotations

from telemetry.drawing.line import Size, text_of
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Chosen, Moment, Page, Status
from telemetry.drawing.pages import PAGES
from telemetry.events import AnyEvent, FatesDecided, PlanChanged, RobotBorn, RunDealt, RunStarted, Stamped
from telemetry.record.rows import DealtPart
from telemetry.scene.scene import Scene
from tests.support.recorded_settings import settings_of

GO_US = 1_000_000_000


class Script:
    """Six robots, r00 to r05, and as many relays as are wanted. `plan`: the lines that the run began with."""

    def __init__(self, *plan: str, shards: int = 1) -> None:
        dealt = [DealtPart(part, (f"r{part:02d}",)) for part in range(6)]
        self.scene = Scene(settings_of(plan=plan, instances=tuple(range(len(plan))), shards=shards), dealt)
        self._number = 0

    def begin(self) -> Script:
        """The robots are born, and go is given."""
        self.emit(-500, "run", RunDealt(6, 6))
        for number in range(6):
            self.emit(-400, f"r{number:02d}", RobotBorn(1, 0))
        return self.emit(0, "run", RunStarted(6))

    def emit(self, at_ms: int, source: str, event: AnyEvent) -> Script:
        """An event, so many milliseconds after go."""
        self._number += 1
        at_us = GO_US + at_ms * 1000
        self.scene.handle(Stamped("f00000", source, 1, self._number, at_us, at_us, event))
        return self

    def plan(self, at_ms: int, *faults: str, request: str = "", refusal: str = "", shard: int = 0) -> Script:
        """A relay applies these faults."""
        old = tuple(fault.text for fault in self.scene.faults.in_force(None))
        return self.emit(at_ms, f"relay:{shard}", PlanChanged(shard, old, faults, request, refusal))

    def fates(self, at_ms: int, offered: int, shard: int = 0, **counts: int) -> Script:
        """A relay decides a batch."""
        zero = dict.fromkeys(FatesDecided.__struct_fields__, 0)
        return self.emit(at_ms, f"relay:{shard}", FatesDecided(**zero | counts | {"offered": offered, "shard": shard}))

    def moment(self, page: Page = "faults", status: Status | None = None, **chosen: object) -> Moment:
        return Moment(self.scene, status or Status(), Chosen(page=page, **chosen))  # type: ignore[arg-type]


def drawn(moment: Moment, width: int = 80, height: int = 21, *, is_ascii: bool = False) -> list[str]:
    """The page as plain text, without blanks at the ends of lines."""
    lines = PAGES[moment.chosen.page].draw(moment, Size(width, height), Marks(is_ascii))
    return [text_of(line).rstrip() for line in lines]
