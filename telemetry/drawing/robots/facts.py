"""What the table of robots knows of each robot, which robots it lists, and in what order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

from telemetry.drawing.marks import TONES
from telemetry.drawing.moment import Chosen, Moment
from telemetry.scene.processes.lifelines import Lifelines
from telemetry.scene.scene import Scene
from telemetry.scene.states import State, states_of
from telemetry.scene.teaching import Lesson
from telemetry.scene.traffic import RobotTraffic

SPARK_SECONDS: Final = 8
"""The last seconds that a row shows."""

_WORST_FIRST: Final[tuple[State, ...]] = (
    "dead",
    "away",
    "stuck",
    "cut off",
    "waiting",
    "paused",
    "gossiping",
    "unborn",
    "born",
    "complete",
    "quiet",
    "passive",
    "wrote",
    "left",
)


class Facts(NamedTuple):
    """A robot. `heard`: copies in each of the last seconds; `arrives_in`: of the `sent_to` envelopes that were sent to
    it, the share that arrived, and `arrives_out`: of those that it sent; None when there are none yet."""

    name: str
    state: State
    held: int
    of: int
    heard: list[int]
    traffic: RobotTraffic
    sent_to: int
    arrives_in: float | None
    arrives_out: float | None
    lives: int
    taught: Lesson | None
    note: str

    @property
    def useful(self) -> float | None:
        """The share of the copies that it received which taught it something."""
        return self.traffic.useful / self.traffic.received if self.traffic.received else None

    @property
    def is_in_trouble(self) -> bool:
        """Whether a person should look at it."""
        return TONES[self.state] == "bad" or bool(self.note)


def facts_of(scene: Scene) -> list[Facts]:
    """All robots, in order of their names."""
    return [_facts(scene, robot, state) for robot, state in states_of(scene).items()]


def listed(moment: Moment, sorts: Sequence[Callable[[Facts], Any]]) -> list[Facts]:
    """The robots that a person wants to see, in the order that they want. `sorts`: by column, what it is sorted by."""
    chosen = moment.chosen
    facts = [each for each in facts_of(moment.scene) if _is_wanted(each, chosen)]
    return sorted(facts, key=sorts[chosen.sort % len(sorts)], reverse=chosen.is_reversed)


def severity(facts: Facts) -> int:
    """The worst first."""
    return _WORST_FIRST.index(facts.state)


def _is_wanted(facts: Facts, chosen: Chosen) -> bool:
    if chosen.is_only_trouble and not facts.is_in_trouble:
        return False
    return all(_matches(facts, word) for word in chosen.filter.split())


def _matches(facts: Facts, word: str) -> bool:
    """A part of its name or of its state, or a pattern of its name; after ! the opposite."""
    if word.startswith("!"):
        return not _matches(facts, word[1:])
    return fnmatchcase(facts.name, word) or word in facts.name or word in facts.state


def _facts(scene: Scene, robot: str, state: State) -> Facts:
    traffic, pairs, seen = scene.traffic.of(robot), scene.pairs, scene.view.robots.get(robot)
    newest, sent_to = scene.now_us // 1_000_000, pairs.sent_to.get(robot, 0)
    heard = dict(traffic.per_second)
    return Facts(
        robot,
        state,
        scene.held(robot).bit_count(),
        len(scene.holders),
        [heard.get(second, 0) for second in range(newest - SPARK_SECONDS + 1, newest + 1)],
        traffic,
        sent_to,
        _share(pairs.arrived_at.get(robot, 0), sent_to),
        _share(pairs.arrived_from.get(robot, 0), traffic.sent),
        seen.incarnation if seen else 0,
        scene.teaching.last.get(robot),
        _note(scene, robot),
    )


def _share(part: int, whole: int) -> float | None:
    return min(1.0, part / whole) if whole else None


def _note(scene: Scene, robot: str) -> str:
    """What is wrong with it now, in words; empty when nothing is."""
    seen = scene.view.robots.get(robot)
    if seen is not None and seen.crashed:
        return f"{', '.join(seen.crashed)} crashed"
    unusual = [f"{rule}: {each.event.detail}" for (rule, about), each in _anomalies(scene, robot)]
    return _why(scene.lifelines, robot) or ", ".join(unusual)


def _anomalies(scene: Scene, robot: str) -> list[tuple[tuple[str, str], Any]]:
    return [
        ((rule, about), each)
        for (rule, about), each in scene.anomalies.items()
        if about == robot or about.startswith(f"{robot}/")
    ]


def _why(lifelines: Lifelines, robot: str) -> str:
    line = lifelines.lines.get(robot)
    return line[-1].why if line and line[-1].condition in ("down", "paused", "waiting", "dead") else ""
