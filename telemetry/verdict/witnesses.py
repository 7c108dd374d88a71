"""How far the robots' own words reach. Their events are witnesses only: they may convict, their absence proves nothing.

A missing tail is expected where a life was ended from outside; any other gap leaves what events would show UNPROVEN.
"""

from __future__ import annotations

from collections.abc import Iterator

from telemetry.events import ProcessDied, RobotFenced, RobotLeft, Stamped, WorkerGaveUp
from telemetry.verdict.case import Case
from telemetry.verdict.finding import Finding, unproven
from telemetry.verdict.journals import Life

_LAST_WORDS = RobotLeft | RobotFenced | WorkerGaveUp


def gaps(case: Case) -> Iterator[Finding]:
    """A doubt for each life whose events are not all there, unless its end explains that."""
    deaths = last_deaths(case)
    for (robot, life), events in case.testimony.items():
        missing = _first_missing(events)
        if missing is not None:
            yield unproven(f"event {missing} of {robot}/{life} is not in the record")
        elif not _ended_itself(events) and not _was_ended(case, robot, life, deaths.get(robot)):
            yield unproven(f"the tail of {robot}/{life} is not in the record, and no death of it is recorded")


def lost_tails(case: Case) -> list[Life]:
    """The lives that ended without a word."""
    return [life for life, events in case.testimony.items() if not _ended_itself(events)]


def last_deaths(case: Case) -> dict[str, int]:
    """The robots whose process did not end in order, and when it last did so (wall clock of the fleet, in us)."""
    deaths: dict[str, int] = {}
    for stamped in case.events:
        if isinstance(stamped.event, ProcessDied) and stamped.event.status != 0:
            robot = stamped.event.process.removeprefix("rq:")
            deaths[robot] = max(stamped.wall_us, deaths.get(robot, 0))
    return deaths


def born_us(events: list[Stamped]) -> int:
    """When a life was first heard of (its own wall clock); 0 when never."""
    return events[0].wall_us if events else 0


def _first_missing(events: list[Stamped]) -> int | None:
    expected = 1
    for stamped in events:
        if stamped.number > expected:
            return expected
        expected = stamped.number + 1
    return None


def _was_ended(case: Case, robot: str, life: int, died_us: int | None) -> bool:
    """Whether the life ended from outside: another one came after it, or its process died."""
    if life != case.journals[robot].lives[-1]:
        return True
    return died_us is not None and died_us >= born_us(case.testimony[robot, life])


def _ended_itself(events: list[Stamped]) -> bool:
    return any(isinstance(stamped.event, _LAST_WORDS) for stamped in events)
