"""The knobs of the page of faults: what each is set to, what its next steps are, and the requests that a change makes.

A fault for everyone and always takes the place of the one of its name; any other is added, and what it replaces has to
be cleared. Nothing is requested here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from telemetry.drawing.moment import Moment
from telemetry.scene.scene import Scene

OFF: Final = ""
HALVES: Final = "halves"  # stands for the first half of the robots against the second
_SPAN: Final = "@0s+3s"  # how long a partition lasts


class Knob(NamedTuple):
    """`steps`: arguments of the fault `name`, from off on. `is_chance`: they are probabilities."""

    name: str
    steps: Sequence[str]
    is_chance: bool = True


_CHANCES: Final = (OFF, "0.01", "0.02", "0.05", *(f"{tenth / 10:g}" for tenth in range(1, 11)))

KNOBS: Final = (
    Knob("loss", _CHANCES),
    Knob("duplicate", _CHANCES),
    Knob("corrupt", _CHANCES),
    Knob("reorder", _CHANCES),
    Knob("delay", (OFF, "5ms..20ms", "20ms~0.5", "50ms..200ms", "200ms~1"), is_chance=False),
    Knob("partition", (OFF, HALVES, f"hold {HALVES}"), is_chance=False),
)


class Change(NamedTuple):
    """The requests of a change: at most one fault to set, and then the texts to clear."""

    set: str
    clears: tuple[str, ...]


def is_changeable(moment: Moment) -> bool:
    """Whether a person may turn the knobs."""
    status = moment.status
    return not (status.is_read_only or status.mode == "replay" or status.is_over or moment.scene.view.stopped)


def knob_named(name: str) -> Knob:
    """The knob. Raises KeyError."""
    return {knob.name: knob for knob in KNOBS}[name]


def texts_of(scene: Scene, knob: Knob, target: str) -> list[str]:
    """The faults in force that the knob is about, for a robot or (empty) for everyone."""
    return [text for text in scene.faults.texts if _is_of(text, knob, target)]


def setting_of(scene: Scene, knob: Knob, target: str) -> str | None:
    """The arguments in force; OFF when there are none, None when the plan is not known. Of several, the last."""
    if not scene.faults.is_known:
        return None
    texts = texts_of(scene, knob, target)
    return arguments_in(texts[-1], knob, target) if texts else OFF


def arguments_in(text: str, knob: Knob, target: str) -> str:
    """A fault's arguments, without its name and its target."""
    arguments = text.removeprefix(knob.name).strip()
    return arguments if knob.name == "partition" else arguments.removesuffix(target).strip()


def stepped(knob: Knob, now: str, by: int) -> str:
    """The step after (1) or before (-1) what is set now, which need not be a step."""
    if now in knob.steps:
        place = knob.steps.index(now) + by
        return knob.steps[max(0, min(place, len(knob.steps) - 1))]
    if not knob.is_chance:
        return knob.steps[1] if by > 0 else OFF
    value = _number(now)
    below = [step for step in knob.steps if _number(step) < value]
    above = [step for step in knob.steps if _number(step) > value]
    return (above or [knob.steps[-1]])[0] if by > 0 else (below or [OFF])[-1]


def change(scene: Scene, knob: Knob, target: str, arguments: str) -> Change:
    """What makes the knob stand at `arguments`, for a robot or (empty) for everyone."""
    old = texts_of(scene, knob, target)
    if arguments == OFF:
        return Change("", tuple(old))
    if knob.name == "partition":
        hold = "hold " * arguments.startswith("hold")
        return Change(f"partition {hold}{target or halves(scene.robots)} {_SPAN}", ())
    new = f"{knob.name} {arguments} {target}".strip()
    return Change(new, tuple(text for text in old if text != new) if target else ())


def halves(robots: Sequence[str]) -> str:
    """The first half against the second, as a target."""
    middle = (len(robots) + 1) // 2
    return "|".join(_range(half) for half in (robots[:middle], robots[middle:]) if half)


def value_text(knob: Knob, arguments: str | None) -> str:
    """What it is set to, for people."""
    if arguments is None:
        return "unknown"
    if arguments == OFF:
        return "off"
    if knob.name == "partition" and arguments.endswith(HALVES):
        return f"{'held ' * arguments.startswith('hold')}for 3 s"
    return f"{_number(arguments):.4g}%".rjust(4) if knob.is_chance else arguments


def chance_in(knob: Knob, arguments: str | None) -> float | None:
    """The probability that a knob stands at; None where it is none, or not known."""
    return None if arguments is None or not knob.is_chance else _number(arguments) / 100


def _is_of(text: str, knob: Knob, target: str) -> bool:
    name, *words = text.split() or [""]
    if name != knob.name or not words:
        return False
    if name == "partition":
        return (words[-1] == target) if target else True
    last = words[-1] if words[1:] else ""
    return last == target if target else not last.startswith("r")


def _number(arguments: str) -> float:
    """A probability in percent; 0 for a text that is none."""
    try:
        return float(arguments.split()[0]) * 100 if arguments else 0.0
    except ValueError:
        return 0.0


def _range(robots: Sequence[str]) -> str:
    return robots[0] if len(robots) == 1 else f"{robots[0]}..{robots[-1]}"
