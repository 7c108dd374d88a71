"""A run told by hand: events with their sources and times, folded into a scene. No tests here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from telemetry.events import AnyEvent, RobotBorn, RobotStarted, RunDealt, RunStarted, Stamped
from telemetry.record.rows import DealtPart
from telemetry.record.settings import RunSettings
from telemetry.scene.scene import MOST_EVENTS, Scene

GO_US = 1_700_000_000_000_000


def settings(robots: int, mode: str = "live", shards: int = 1) -> RunSettings:
    """Those of a small run."""
    return RunSettings(
        run="5c1213",
        version="test",
        mode=mode,  # type: ignore[arg-type]
        robots=robots,
        copies=1,
        seed=7,
        preset=None,
        tick_us=100_000,
        quiet_period_us=1_000_000,
        for_us=0,
        limit_us=60_000_000,
        shards=shards,
        plan=(),
        instances=(),
        again="robots run",
    )


class Script:
    """`robots` are born and gossip from `go` on, each dealt one part of the secret. Times are milliseconds after it."""

    def __init__(self, robots: int = 3, mode: str = "live", shards: int = 1, most_events: int = MOST_EVENTS) -> None:
        width = max(2, len(str(robots - 1)))
        names = [f"r{number:0{width}d}" for number in range(robots)]
        dealt = [DealtPart(number, (name,)) for number, name in enumerate(names)]
        self.scene = Scene(settings(robots, mode, shards), dealt, most_events)
        self._numbers: Counter[tuple[str, int]] = Counter()
        self.report(-100, "lab", RunDealt(robots, robots), life=0)
        for name in names:
            self.report(-50, name, RobotBorn(1, 2))
        self.report(0, "lab", RunStarted(robots), life=0)
        for name in names:
            self.report(1, name, RobotStarted())

    def report(self, at_ms: float, source: str, event: AnyEvent, life: int | None = None) -> Stamped:
        """Fold one more event. Robots are in their first life, and all else in none, unless another one is given."""
        if life is None:
            life = 1 if source.startswith("r") and source[1:].isdecimal() else 0
        self._numbers[source, life] += 1
        at_us = round(at_ms * 1000)
        stamped = Stamped("5c1213", source, life, self._numbers[source, life], GO_US + at_us, at_us + 1_000_000, event)
        self.scene.handle(stamped)
        return stamped

    def report_all(self, events: Iterable[tuple[float, str, AnyEvent]]) -> None:
        """Fold several."""
        for at_ms, source, event in events:
            self.report(at_ms, source, event)

    def line(self, process: str) -> list[tuple[int, str, str]]:
        """The line of a process: milliseconds after `go`, the condition, and why."""
        stretches = self.scene.lifelines.lines.get(process, ())
        return [((each.from_us - GO_US) // 1000, each.condition, each.why) for each in stretches]

    def conditions(self, process: str) -> list[tuple[int, str]]:
        """Without the reasons."""
        return [(at_ms, condition) for at_ms, condition, _ in self.line(process)]
