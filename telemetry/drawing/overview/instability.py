"""What is not as it should be: what the network does, what full channels dropped, who died, and what is unusual now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from telemetry.drawing.line import Fragment, Line, Size, headed, line, wrapped
from telemetry.drawing.marks import Marks
from telemetry.events import AnomalyBegan
from telemetry.expectation import mean_loss
from telemetry.phrases import counted, named_robots, share
from telemetry.scene.network import Fates
from telemetry.scene.scene import Scene
from telemetry.scene.states import states_of

LATELY_US: Final = 5_000_000
"""What is called lately."""


def instability(scene: Scene, size: Size, marks: Marks) -> list[Line]:
    """The panel: trouble first."""
    lines = [
        *_anomalies(scene, size.width),
        *_relays(scene),
        *_deaths(scene),
        _lost_lately(scene, size.width),
        *_held(scene),
        _faults(scene),
        _channels(scene),
    ]
    lines.sort(key=lambda each: all(fragment.tone != "bad" for fragment in each))
    return headed(line(Fragment("INSTABILITY", "title")), _cut(lines, size.height - 1, marks), size)


def _cut(lines: Sequence[Line], rows: int, marks: Marks) -> Sequence[Line]:
    """What fits; the last line says when more does not."""
    if len(lines) <= rows or rows < 2:
        return lines
    return [*lines[: rows - 1], line(Fragment(f"{marks.more} {len(lines) - rows + 1} more (m)", "dim"))]


def _anomalies(scene: Scene, width: int) -> Iterator[Line]:
    for stamped in scene.anomalies.values():
        if isinstance(stamped.event, AnomalyBegan):
            text = f"{stamped.event.about}: {stamped.event.rule}: {stamped.event.detail}"
            yield from (line(Fragment(each, "bad")) for each in wrapped(text, width, 2))


def _relays(scene: Scene) -> Iterator[Line]:
    for shard in sorted(scene.view.relayless):
        yield line(Fragment(f"shard {shard} has no relay: messages there wait", "bad"))


def _lost_lately(scene: Scene, width: int) -> Line:
    """What is lost lately, beside what the plan wants."""
    lately = scene.network.lately(scene.now_us, LATELY_US)
    if not lately.offered:
        return line(Fragment("no message was sent lately", "dim"))
    lost = (lately.lost + lately.corrupted) / lately.offered
    losing = tuple(fault for fault in scene.faults.texts if not fault.startswith("partition hold"))
    planned = mean_loss(losing, scene.settings.robots)  # what is held back is counted once it is decided
    text, more = f"lost lately {share(lost)}, planned {share(planned)}", _others(lately)
    has_room = len(text) + len(more) <= width
    return line(Fragment(text, "news" if lost else "dim"), *([Fragment(more, "dim")] if has_room else []))


def _held(scene: Scene) -> Iterator[Line]:
    if scene.network.held:
        yield line(Fragment(f"a partition holds back {counted(scene.network.held, 'envelope')}", "news"))


def _others(lately: Fates) -> str:
    counts = ((lately.duplicated, "twice"), (lately.delayed, "late"))
    named = [f"{share(count / lately.offered)} {word}" for count, word in counts if count]
    return f"; {', '.join(named)}" if named else ""


def _deaths(scene: Scene) -> Iterator[Line]:
    robots = scene.view.robots
    absent = [name for name, state in states_of(scene).items() if state in ("away", "dead", "waiting")]
    if absent:
        yield line(Fragment(f"not there now: {named_robots(absent)}", "bad"))
    reborn = sum(robot.incarnation - 1 for robot in robots.values() if robot.incarnation > 1)
    crashes = sum(traffic.crashes for traffic in scene.traffic.robots.values())
    counts = [(reborn, counted(reborn, "rebirth")), (crashes, f"{counted(crashes, 'crash', 'crashes')} of workers")]
    text = ", ".join(text for count, text in counts if count)
    if text:
        yield line(Fragment(f"so far: {text}", "news"))
    elif not absent:
        yield line(Fragment("no robot died, no worker crashed", "dim"))


def _channels(scene: Scene) -> Line:
    pressed = [name for name, traffic in scene.traffic.robots.items() if traffic.pressed]
    if not pressed:
        return line(Fragment("no channel is full", "dim"))
    return line(Fragment(f"full channels dropped messages: {named_robots(pressed)}", "bad"))


def _faults(scene: Scene) -> Line:
    """The plan in force, what cuts robots off first."""
    faults = sorted(scene.faults.texts, key=lambda fault: not fault.startswith("partition"))
    return line(Fragment(f"network: {', '.join(faults)}" if faults else "network: no fault is in force", "dim"))
