"""How far the robots' own events reach: they may convict, and their absence proves nothing.

The life's recorded death (fleet.jsonl) explains a missing tail. Any other gap makes a promise UNPROVEN that needs these
events.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Final

from telemetry.events import RECALLED, RobotFenced, RobotLeft, Stamped, WorkerGaveUp, WorkerLeft
from telemetry.verdict.case import Case
from telemetry.verdict.evidence.births import Births
from telemetry.verdict.evidence.journals import Life
from telemetry.verdict.finding import Finding, unproven

REPORT_DELAY_MS: Final = 5_000
"""A death may be recorded this much later than the next life's birth: the server may have been away."""

CLOCKS_DIFFER_US: Final = 1_000_000
"""The clocks of a robot and of the server may differ by this much."""

_LEAVE_FIRST: Final = ("orders", "recall")
"""The parts of a robot that end its life, and leave first."""

_LAST_EVENTS = RobotLeft | RobotFenced | WorkerGaveUp


def gaps(case: Case) -> Iterator[Finding]:
    """A doubt for each life whose events are not all there, unless its end explains that."""
    has_recorded_death = _recorded_deaths(case)
    for (robot, life), events in case.testimony.items():
        missing = first_missing(events)
        if missing is not None:
            yield unproven(f"event {missing} of {robot}/{life} is not in the record")
        elif not ended_itself(events) and not has_recorded_death(robot, life):
            yield unproven(f"the tail of {robot}/{life} is not in the record, and no death of it is recorded")


def lost_tails(case: Case) -> list[Life]:
    """The lives without a last event (left, fenced or given up)."""
    return [life for life, events in case.testimony.items() if not ended_itself(events)]


def died_at_last(case: Case) -> set[str]:
    """The robots whose last life did not end in order."""
    return {downtime.robot for downtime in case.downtimes if downtime.birth is None}


def recalls(case: Case) -> dict[str, int]:
    """The robots that were recalled and not born again, and when (their own wall clock, µs)."""
    recalled_us: dict[str, int] = {}
    for robot, journal in case.journals.items():
        for stamped in case.testimony[robot, journal.lives[-1]] if journal.lives else ():
            if stamped.event == RobotLeft(RECALLED):
                recalled_us[robot] = stamped.wall_us
    return recalled_us


def born_us(events: list[Stamped]) -> int:
    """The time of a life's first event (its own wall clock, µs); 0 when there is none."""
    return events[0].wall_us if events else 0


def lived_until_us(events: list[Stamped], reply: Stamped | None) -> int:
    """How long a life is known to have gone on before `reply`, one of its events: until the event before it. A process
    that was stopped, or got no CPU, shows nothing until it goes on. Without a reply: until it began to end in order, or
    else until its last event."""
    if reply is not None:
        return events[events.index(reply) - 1].monotonic_us
    leaving = (each for each in events if isinstance(each.event, WorkerLeft) and each.event.worker in _LEAVE_FIRST)
    return next(leaving, events[-1]).monotonic_us


def first_missing(events: list[Stamped]) -> int | None:
    """The number of the first event of a life that is missing before a later one; None when none is."""
    expected = 1
    for stamped in events:
        if stamped.number > expected:
            return expected
        expected = stamped.number + 1
    return None


def _recorded_deaths(case: Case) -> Callable[[str, int], bool]:
    """A function that tests whether a life's death is recorded."""
    named = case.fleet.deaths_of_lives
    died_ms = {robot: sorted(death.at_ms for death in deaths) for robot, deaths in case.fleet.deaths.items()}

    def has_recorded_death(robot: str, life: int) -> bool:
        births, deaths_ms = case.births.get(robot, Births()), died_ms.get(robot, [])
        next_ms = births.any_after_ms(life)
        first = bisect_left(deaths_ms, births.at_ms(life))
        is_of_then = first < len(deaths_ms) and (next_ms is None or deaths_ms[first] <= next_ms + REPORT_DELAY_MS)
        return is_of_then or (robot, life) in named

    return has_recorded_death


def ended_itself(events: list[Stamped]) -> bool:
    """Whether the life has a last event (left, fenced or given up)."""
    return any(isinstance(stamped.event, _LAST_EVENTS) for stamped in events)
