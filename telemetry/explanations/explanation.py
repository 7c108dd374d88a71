"""An explanation: an answer in one sentence, and sections of steps that show it. The same value is text and JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal

import msgspec

from telemetry.console import printable

_MOST_STEPS: Final = 24  # of a section, in text
_TAIL: Final = 8  # of them from its end, where some are left out


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that happened, or that is so. `at_s`: when it began, in seconds after `go`; `took_s`: how long it took,
    in seconds. `robot`, `life`, `exchange` and `faults` are what the text is about, where it is about such."""

    text: str
    at_s: float | None = None
    took_s: float | None = None
    robot: str = ""
    life: int = 0
    exchange: str = ""
    faults: tuple[str, ...] = ()


class Section(msgspec.Struct, frozen=True):
    """Steps under a title."""

    title: str
    steps: tuple[Step, ...]


class Explanation(msgspec.Struct, frozen=True):
    """Why. `robot` and `part` are None where the question named none. `schema` grows when this shape changes."""

    run: str
    robot: str | None
    part: int | None
    answer: str
    sections: tuple[Section, ...]
    schema: Literal["robots.why/1"] = "robots.why/1"

    def lines(self) -> Iterator[str]:
        """As people read it; of a long section, its beginning and its end."""
        yield printable_line(self.answer)
        for section in self.sections:
            yield ""
            yield f"{section.title}:"
            yield from map(_line, _some(section.steps))


def section(title: str, steps: Iterable[Step]) -> tuple[Section, ...]:
    """A section, or none where there are no steps."""
    found = tuple(steps)
    return (Section(title, found),) if found else ()


def printable_line(text: str) -> str:
    """A text that may come from outside, harmless to a terminal and whole."""
    return "".join(printable(text[start : start + 240]) for start in range(0, len(text), 240))


def _some(steps: tuple[Step, ...]) -> Iterator[Step]:
    if len(steps) <= _MOST_STEPS:
        yield from steps
        return
    yield from steps[: _MOST_STEPS - _TAIL]
    yield Step(f"… {len(steps) - _MOST_STEPS} more (--json has all)")
    yield from steps[-_TAIL:]


def _line(step: Step) -> str:
    at = "" if step.at_s is None else f"{step.at_s:.3f} s"
    return f"  {at:>10}  {printable_line(step.text)}".rstrip()
