"""The knobs as a table: what each is set to, and beside it what the relays counted: lately, since the faults that
concern it changed last, and in the whole run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from telemetry.drawing.faults.knobs import KNOBS, Knob, chance_in, is_changeable, setting_of, value_text
from telemetry.drawing.line import Fragment, Line, fitted, scrolled
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Moment
from telemetry.scene.faults import DELAYING, LOSING, kind_of
from telemetry.scene.rates import Rate, rate_of
from telemetry.scene.scene import Scene

LATELY_US: Final = 5_000_000
_BAR: Final = 12
_COLUMNS: Final = (11, 19, 10, 11, 21, 7)  # KNOB, SET, LAST 5 S, SINCE SET, 95% BAND, RUN
_OTHERS: Final = {"loss": LOSING, "reorder": DELAYING, "delay": DELAYING}
"""The faults that a relay counts together with a knob's."""


def knob_lines(moment: Moment, marks: Marks) -> list[Line]:
    """A head, and a line for each knob; where they can be turned, the one under the cursor is marked."""
    scene, chosen = moment.scene, moment.chosen
    target = chosen.knobs.target
    head = _row(
        [
            Fragment(text, "title")
            for text in ("FAULTS", f"SET ({target or 'all'})", "LAST 5 S", "SINCE SET", "95% BAND", "RUN")
        ]
    )
    lines = [_knob_line(scene, knob, target, marks) for knob in KNOBS]
    if is_changeable(moment):
        lines, _ = scrolled(lines, chosen.cursor, len(lines))
    return [head, *lines]


def _knob_line(scene: Scene, knob: Knob, target: str, marks: Marks) -> Line:
    arguments = setting_of(scene, knob, target)
    text, chance = value_text(knob, arguments), chance_in(knob, arguments)
    if chance is not None:
        text = f"{marks.bar(chance, _BAR)} {text}"
    cells = [Fragment(knob.name), Fragment(text, "news" if arguments else "")]
    return _row([*cells, *_measured(scene, knob, None if target else chance)])  # relays count for all robots


def _measured(scene: Scene, knob: Knob, chance: float | None) -> Iterator[Fragment]:
    """What was measured lately, since the faults that concern it changed, and in the whole run."""
    if knob.name == "partition":
        held = scene.network.held
        yield Fragment(f"held back now: {held}" if held else "", "news")
        return
    in_force = scene.faults.texts
    if knob.name == "reorder" and not _is_alone(knob, in_force):
        yield Fragment("counted with delay", "dim")
        return
    what = "delay" if knob.name == "reorder" else knob.name
    since = rate_of(what, scene.faults.measured(what))
    yield _share(rate_of(what, scene.network.lately(scene.now_us, LATELY_US)))
    yield _share(since)
    yield _times(scene) if knob.name == "delay" else _band(since, chance if _is_alone(knob, in_force) else None)
    yield _share(rate_of(what, scene.network.total))


def _times(scene: Scene) -> Fragment:
    """How long envelopes were on their way lately."""
    seen = scene.transit.lately(scene.now_us, LATELY_US)
    return Fragment("" if seen is None else f"p50 {seen.p50_us // 1000} p99 {seen.p99_us // 1000} ms")


def _is_alone(knob: Knob, in_force: Sequence[str]) -> bool:
    """Whether what is measured is the doing of this knob alone, so that it can be compared with what is set."""
    others = _OTHERS.get(knob.name, (knob.name,))
    concerned = [text for text in in_force if kind_of(text) in others]
    return all(kind_of(text) == knob.name and len(text.split()) == 2 for text in concerned) and len(concerned) <= 1


def _share(rate: Rate) -> Fragment:
    return Fragment("unknown", "dim") if rate.share is None else Fragment(f"{rate.share:6.1%}")


def _band(rate: Rate, chance: float | None) -> Fragment:
    """The band of the true rate, and whether what is set lies in it."""
    band = rate.band
    if band is None:
        return Fragment("")
    text = f"{band[0] * 100:.1f}-{band[1] * 100:.1f}%"
    if chance is None:
        return Fragment(text, "dim")
    is_inside = band[0] <= chance <= band[1]
    return Fragment(f"{text:<12} {'inside' if is_inside else 'OUTSIDE'}", "good" if is_inside else "bad")


def _row(cells: Sequence[Fragment]) -> Line:
    *first, last = cells
    fragments = [Fragment(" ")]
    for width, cell in zip(_COLUMNS, first, strict=False):
        fragments += [*fitted((cell,), width - 1), Fragment(" ")]
    return (*fragments, last)
