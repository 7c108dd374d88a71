"""Whether clocks of the record jumped: what compares two times of one clock holds only while it runs on. Judges
nothing.

* Every event has the wall clock and the monotonic clock of its process. A life is one process, so where their
  difference changes from one of its events to the next, the wall clock of its host was set.
* The server's ids never fall in one stream, whatever its clock does. So a copy that came into its inbox before it was
  sent shows that the clock was set back meanwhile. By how much is not known.

A record without events, or without the journals that name its lives, shows no step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from telemetry.events import MessageReceived, Stamped
from telemetry.verdict.case import Case
from telemetry.verdict.evidence.fleet import ms_of

LEAST_STEP_US: Final = 100_000
"""A smaller change may be a process that stood still between its readings of two clocks."""


class ClockStep(NamedTuple):
    """A wall clock was set between `from_us` and `until_us` (the clock itself), forward or back by `by_us`."""

    from_us: int
    until_us: int
    by_us: int


def clock_steps(case: Case) -> Iterator[ClockStep]:
    """What each life saw of its host's clock, life by life; several lives may have seen the same step."""
    for events in _lives(case):
        yield from _steps(events)


def set_back_us(case: Case) -> int:
    """By how much the clock of a host was set back in all, as far as one life saw it."""
    return -min((sum(min(0, step.by_us) for step in _steps(events)) for events in _lives(case)), default=0)


def was_server_set_back(case: Case) -> bool:
    """Whether a copy came before it was sent, by the server's clock."""
    if "events" in case.damage:
        return False
    sent_ms = case.traffic.sent_ms
    copies = ((each.source, each.event) for each in case.events if isinstance(each.event, MessageReceived))
    return any(
        ms_of(event.entry) < sent_ms.get((event.sender, event.sender_incarnation, receiver, event.sequence), 0)
        for receiver, event in copies
    )


def _lives(case: Case) -> Iterable[list[Stamped]]:
    """The events of each life, in order."""
    return () if case.damage.keys() & {"events", "journals"} else case.testimony.values()


def _steps(events: list[Stamped]) -> Iterator[ClockStep]:
    for before, after in pairwise(events):
        by_us = (after.wall_us - after.monotonic_us) - (before.wall_us - before.monotonic_us)
        if abs(by_us) >= LEAST_STEP_US:
            yield ClockStep(before.wall_us, after.wall_us, by_us)
