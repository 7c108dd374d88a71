"""The traffic of one robot with each other robot, in both directions, its exchanges, and its channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from telemetry.drawing.line import Fragment, Line, Size, Tone, block, line, scrolled
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Moment
from telemetry.drawing.table import cell, list_title
from telemetry.phrases import counted, share
from telemetry.scene.pairs import DURATIONS_KEPT, Exchanges, PairTraffic
from telemetry.scene.scene import Scene

_HEADS: Final = (
    ("PEER", 6),
    ("SENT", 6),
    ("ARRIVED", 8),
    ("HEARD", 6),
    ("OF SENT", 8),
    ("USEFUL", 7),
    ("EQUAL", 6),
    ("ANSWERED", 9),
    ("TIMEOUT", 8),
    ("P50", 7),
    ("P99", 7),
)


def draw(moment: Moment, size: Size, marks: Marks) -> list[Line]:  # noqa: ARG001
    """The tab."""
    scene, robot = moment.scene, moment.chosen.robot
    peers = rows(moment)
    foot = [_channels(scene, robot), *_legend()]
    title = list_title("WITH WHOM IT TALKS", len(peers), max(0, len(scene.robots) - 1))
    head = line(*(_head(name, width) for name, width in _HEADS))
    drawn = [_row(scene, robot, peer) for peer in peers]
    shown, first = scrolled(drawn, moment.chosen.cursor, size.height - 2 - len(foot))
    if len(shown) < len(drawn):
        title = (*title, Fragment(f"   rows {first + 1}..{first + len(shown)}", "dim"))
    return [
        *block([title, head, *shown], Size(size.width, size.height - len(foot))),
        *block(foot, Size(size.width, len(foot))),
    ]


def rows(moment: Moment) -> Sequence[str]:
    """The other robots with which something passed."""
    scene, robot = moment.scene, moment.chosen.robot
    others = (other for other in scene.robots if other != robot)
    return [other for other in others if any(scene.pairs.of(robot, other)) or any(scene.pairs.of(other, robot))]


def _head(name: str, width: int) -> Fragment:
    return cell(name, width, "dim", is_number=name != "PEER")


def _row(scene: Scene, robot: str, peer: str) -> Line:
    out, back, ended = scene.pairs.of(robot, peer), scene.pairs.of(peer, robot), scene.pairs.exchanges(robot, peer)
    cells: list[tuple[str, Tone]] = [
        (peer, ""),
        (str(out.sent), ""),
        _arrived(out),
        (str(back.copies), ""),
        _arrived(back),
        (str(back.useful), "good" if back.useful else ""),
        (str(ended.equal), ""),
        (str(ended.answered), ""),
        (str(ended.timeout), "bad" if ended.timeout else ""),
        (_took(ended, 0.5), ""),
        (_took(ended, 0.99), ""),
    ]
    columns = zip(_HEADS, cells, strict=True)
    return line(*(cell(text, width, tone, name != "PEER") for (name, width), (text, tone) in columns))


def _arrived(traffic: PairTraffic) -> tuple[str, Tone]:
    if not traffic.sent:
        return "-", "dim"
    part = min(1.0, traffic.arrived / traffic.sent)
    return share(part).replace("under ", "<").replace("over ", ">"), "bad" if part < 0.5 else ""


def _took(ended: Exchanges, quantile: float) -> str:
    if not ended.took_us:
        return "-"
    took_us = ended.took_us[min(len(ended.took_us) - 1, int(quantile * len(ended.took_us)))]
    return f"{took_us / 1000:.0f}ms"


def _channels(scene: Scene, robot: str) -> Line:
    dropped = scene.workers.dropped.get(robot, {})
    if not dropped:
        return line(Fragment("CHANNELS ", "title"), "none dropped anything in this life")
    each = ", ".join(f"{channel} dropped {counted(count, 'item')}" for channel, count in dropped.items())
    return line(Fragment("CHANNELS ", "title"), Fragment(f"{each} in this life", "bad"))


def _legend() -> list[Line]:
    return [
        line(Fragment("ARRIVED: of what it sent there   HEARD: copies that came, OF what was SENT to it", "dim")),
        line(Fragment(f"then the exchanges that it began; P50, P99: of the newest {DURATIONS_KEPT} answered", "dim")),
    ]
