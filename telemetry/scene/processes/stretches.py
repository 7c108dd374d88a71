"""The line of one process: stretches of time with one word each, in order, and what a person reads from it. Pure.

A stretch takes its place by its time, because events of several sources may come a little out of order.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import Literal, NamedTuple

Condition = Literal["up", "complete", "down", "paused", "waiting", "dead", "left"]


class Stretch(NamedTuple):
    """From `from_us` of the wall clock on, until the next one. `why`: what made it so, as a few words; `life`: of a
    robot, else 0."""

    from_us: int
    condition: Condition
    why: str = ""
    life: int = 0


Line = tuple[Stretch, ...]


class LifeSpan(NamedTuple):
    """A robot's life. `ended_us`: None while it goes on; `how`: how it ended, as a few words."""

    number: int
    born_us: int
    complete_us: int | None = None
    ended_us: int | None = None
    how: str = ""


def stretch_at(line: Line, at_us: int) -> Stretch | None:
    """How a process was at a moment; None before anything is known of it."""
    place = bisect_right(line, at_us, key=_from_us)
    return line[place - 1] if place else None


def with_stretch(line: Line, stretch: Stretch) -> Line:
    """The line with one more stretch, or the same line when that says nothing new."""
    place = bisect_right(line, stretch.from_us, key=_from_us)
    if place and _is_nothing_new(line[place - 1], stretch):
        return line
    is_sooner = place < len(line) and line[place].condition == stretch.condition == "down"  # and says more
    return (*line[:place], stretch, *line[place + is_sooner :])


def resumed(line: Line, at_us: int) -> Line:
    """The line of a paused process that goes on as it was before; the same line when it was not paused."""
    place = bisect_right(line, at_us, key=_from_us)
    if not place or line[place - 1].condition != "paused":
        return line
    before = line[place - 2] if place > 1 else Stretch(at_us, "up")
    return (*line[:place], before._replace(from_us=at_us, why=before.why or "resumed"), *line[place:])


def lives_of(line: Line) -> list[LifeSpan]:
    """The lives in a robot's line, in order."""
    lives: list[LifeSpan] = []
    for stretch in line:
        last = lives[-1] if lives else None
        is_alive = stretch.condition in ("up", "complete", "paused")
        if is_alive and (last is None or last.number != stretch.life):
            if last is not None and last.ended_us is None:
                lives[-1] = last._replace(ended_us=stretch.from_us, how="its end was not reported")
            last = LifeSpan(stretch.life, stretch.from_us)
            lives.append(last)
        if last is None:
            continue
        if not is_alive and last.ended_us is None:
            lives[-1] = last._replace(ended_us=stretch.from_us, how=stretch.why)
        elif is_alive:
            complete_us = stretch.from_us if stretch.condition == "complete" else None
            lives[-1] = last._replace(complete_us=last.complete_us or complete_us, ended_us=None, how="")
    return lives


def deaths_in(line: Line, since_us: int) -> list[Stretch]:
    """The stretches since then in which the process was down, and before which it lived."""
    return [
        stretch
        for before, stretch in pairwise(line)
        if stretch.condition in ("down", "dead")
        and before.condition in ("up", "complete", "paused")
        and stretch.from_us > since_us
    ]


def _from_us(stretch: Stretch) -> int:
    return stretch.from_us


def _is_nothing_new(before: Stretch, stretch: Stretch) -> bool:
    match stretch.condition:
        case "up":
            return before[1:] == stretch[1:]
        case "complete":
            return before.condition not in ("up", "complete") or before[1:] == stretch[1:]
        case "down":
            return before.condition in ("down", "waiting", "dead", "left")
    return before.condition == stretch.condition
