"""Supervised, for robots: each was born again in time and within the policy.

After a death of a robot's process, charged to its budget or not (evidence/fleet.py), its next life is born, or the next
process dies, within the policy's delay (checks/restart_policy.py) and 5 s. No life is born sooner than the delay after
a charged death, nor when more than 5 were charged within 30 s. Exempt is

* a death after the order to stop, or so short before it that this time was not over;
* a robot that gave up, reported it, and had its budget spent; it is named. Without the report this is UNPROVEN;
* a robot that was reported to wait because no RQ worker is free: it is named. It is UNPROVEN if it still waits at the
  end, or if no event reported it in the last 10 s before its birth: an RQ worker may have been free;
* a robot whose journal is lost: UNPROVEN.

A robot whose RQ worker was ended in order does not die: its last event is that it was recalled, and its job goes back
to the queue. If it is not born again in the same time, that is UNPROVEN, reported to wait or not: no evidence shows
which RQ worker should have taken it.

Likewise UNPROVEN is a robot that was never born, and one whose last life was fenced, or lost its journal: a later life
should be there, and none is.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Final

from telemetry.events import EvidenceLost, RobotFenced, RobotLeft
from telemetry.verdict.case import Case
from telemetry.verdict.checks.restart_policy import (
    MOST_RESTARTS,
    ROBOTS_GRACE_US,
    WINDOW_US,
    longest_us,
    recent,
    shortest_us,
)
from telemetry.verdict.checks.witnesses import CLOCKS_DIFFER_US, recalls
from telemetry.verdict.evidence.fleet import Downtime, RobotDeath
from telemetry.verdict.evidence.journals import Life
from telemetry.verdict.finding import Finding, broken, unproven

MOST_NAMED: Final = 10  # parts
WAIT_REPORT_VALID_US: Final = 10_000_000
"""A report that a robot waits is valid for this long."""


class _Budget:
    """When a robot's deaths were charged."""

    def __init__(self, deaths: Sequence[RobotDeath] = ()) -> None:
        charged = [death for death in deaths if death.is_charged]
        of_lives = {death.life: death.at_ms * 1000 for death in charged}  # deaths of one life count once
        self._deaths_us = sorted(death.at_ms * 1000 for death in charged)
        self._lives = sorted((died_us, life) for life, died_us in of_lives.items())

    def spent_by(self, at_ms: int) -> int:
        """How many deaths were charged within the window that ends then."""
        return recent(self._deaths_us, at_ms * 1000)

    def lives_before(self, life: int, born_ms: int) -> int:
        """How many lives earlier than `life` died charged deaths within the window that ends with its birth."""
        start, end = (bisect_right(self._lives, at_us, key=_time_of) for at_us in _window(born_ms * 1000))
        return sum(earlier < life for _, earlier in self._lives[start:end])


def robot_restarts(case: Case) -> Iterator[Finding]:
    """Findings on robots after their deaths: born too late, or against the policy."""
    budgets = {robot: _Budget(deaths) for robot, deaths in case.fleet.deaths.items()}
    for downtime in case.downtimes:
        yield from _late(case, downtime, budgets[downtime.robot])
        yield from _against_policy(downtime, budgets[downtime.robot])


def requeued_robots(case: Case) -> Iterator[Finding]:
    """A doubt for each robot whose job was requeued, and that no RQ worker took in time."""
    for robot, recalled_us in sorted(recalls(case).items()):
        budget = _Budget(case.fleet.deaths.get(robot, ()))
        recalled_ms = recalled_us // 1000
        away_ms = case.fleet.away_ms(recalled_ms, case.end_ms)
        if away_ms * 1000 <= longest_us(budget.spent_by(recalled_ms)) + ROBOTS_GRACE_US:
            continue
        if _was_reported_waiting(case, robot, recalled_us, case.end_ms * 1000):
            yield unproven(f"{robot} waits since it was recalled: {_no_worker(case, robot)}")
        else:
            yield unproven(f"{robot} was recalled, and not born again in {away_ms / 1000:.2f} s, nor reported to wait")


def missing_lives(case: Case) -> Iterator[Finding]:
    """A doubt for each robot that does not live, though no death of it is recorded that says why."""
    lost_journals = {
        (stamped.source, stamped.incarnation) for stamped in case.events if stamped.event == EvidenceLost("journal")
    }
    for robot, journal in sorted(case.journals.items()):
        if not journal.lives:
            if robot in case.dealt_robots and not journal.lost:
                yield unproven(f"{robot} was never born")
            continue
        last = robot, journal.lives[-1]
        if _was_fenced(case, last):
            yield unproven(f"{robot}/{last[1]} ended because a later life exists, and none is on record")
        elif lost_journals & {last, (robot, 0)}:
            yield unproven(f"{robot} reports that its journal was lost: it cannot be born again")


def _was_fenced(case: Case, life: Life) -> bool:
    """Whether the life ended because it met a later one."""
    events = [stamped.event for stamped in case.testimony[life]]
    if any(isinstance(event, RobotFenced) for event in events):
        return True
    deaths = case.fleet.deaths_of_lives.get(life, ())
    return any(death.is_fenced for death in deaths) and not any(isinstance(event, RobotLeft) for event in events)


def was_waiting(case: Case, downtime: Downtime) -> bool:
    """Whether an event reports that the robot waited for an RQ worker during the downtime."""
    end_ms = case.end_ms if downtime.birth is None else downtime.birth.at_ms
    return _was_reported_waiting(case, downtime.robot, downtime.deaths[0].at_ms * 1000, end_ms * 1000)


def _was_reported_waiting(case: Case, robot: str, start_us: int, end_us: int) -> bool:
    reports_us = case.wait_reports_us.get(robot, [])
    place = bisect_left(reports_us, start_us - CLOCKS_DIFFER_US)
    return place < len(reports_us) and reports_us[place] <= end_us + CLOCKS_DIFFER_US


def _no_worker(case: Case, robot: str) -> str:
    """Why a robot waits, and what the run lacks meanwhile."""
    parts = case.parts_in_wait[robot]
    which = f"part{'s' * (len(parts) > 1)} {', '.join(map(str, parts[:MOST_NAMED]))}{' …' * (len(parts) > MOST_NAMED)}"
    return "no RQ worker is free" + f"; no living robot holds {which}" * bool(parts)


def _unreported_wait(case: Case, downtime: Downtime) -> Iterator[Finding]:
    """A doubt when a robot was born long after the last report that it waits."""
    assert downtime.birth is not None
    born_us, reports_us = downtime.birth.at_ms * 1000, case.wait_reports_us[downtime.robot]
    silent_us = born_us - reports_us[bisect_right(reports_us, born_us + CLOCKS_DIFFER_US) - 1]
    if silent_us > WAIT_REPORT_VALID_US:
        why = f"was last reported to wait {silent_us / 1e6:.1f} s before its birth"
        yield unproven(f"{downtime.robot} {why}: an RQ worker may have been free")


def _late(case: Case, downtime: Downtime, budget: _Budget) -> Iterator[Finding]:
    """Findings on births that came too late, or never."""
    end_ms = case.end_ms if downtime.birth is None else downtime.birth.at_ms
    untils = [*(death.at_ms for death in downtime.deaths[1:]), end_ms]
    for death, until_ms in zip(downtime.deaths, untils, strict=True):
        away_ms = case.fleet.away_ms(death.at_ms, min(until_ms, case.end_ms))
        charged = budget.spent_by(death.at_ms)
        allowed_ms = (longest_us(charged) + ROBOTS_GRACE_US) / 1000
        if away_ms <= allowed_ms:
            continue
        took = f"in {away_ms / 1000:.2f} s; {allowed_ms / 1000:.2f} s were allowed"
        doubt = _excuse(case, downtime, death, charged)
        if doubt is not None:
            yield from doubt
        else:
            yield broken(f"{death}, and {death.robot} was not started again {took}", _witness(death))


def _excuse(case: Case, downtime: Downtime, death: RobotDeath, charged: int) -> list[Finding] | None:
    """What follows from a robot that was not started again in time: nothing, a doubt, or None when it has no excuse."""
    robot, comes_back = death.robot, downtime.birth is not None
    journal = case.journals.get(robot)
    if journal is None or journal.lost:
        return [unproven(f"{death}, and its journal is not there: it cannot be born again")]
    if was_waiting(case, downtime):
        if not comes_back:
            return [unproven(f"{robot} waits since its death: {_no_worker(case, robot)}")]
        return list(_unreported_wait(case, downtime))
    if not comes_back and charged > MOST_RESTARTS:
        was_reported = robot in case.given_up  # the robot itself, not a worker of it
        return [] if was_reported else [unproven(f"{death}, its budget spent, and did not report that it gave up")]
    return None


def _against_policy(downtime: Downtime, budget: _Budget) -> Iterator[Finding]:
    """Findings on a life that was born when the policy did not allow it. Deaths that name the same life count once."""
    birth, last = downtime.birth, downtime.deaths[-1]
    if birth is None:
        return
    robot, since_ms = downtime.robot, birth.at_ms - last.at_ms
    crashes = budget.lives_before(birth.life, birth.at_ms)
    witness = f"birth of {robot}/{birth.life}"
    if crashes > MOST_RESTARTS:
        yield broken(f"{robot} was born again although {crashes} charged deaths lie within 30 s", witness)
    is_charged = all(death.is_charged for death in downtime.deaths)
    if is_charged and 0 <= since_ms < shortest_us(crashes) // 1000 - 1:
        yield broken(
            f"{robot} was born again {since_ms} ms after its death, the {crashes}. within 30 s: too soon", witness
        )


def _window(end_us: int) -> tuple[int, int]:
    return end_us - WINDOW_US, end_us


def _time_of(died: tuple[int, int]) -> int:
    return died[0]


def _witness(death: RobotDeath) -> str:
    return f"death of {death.robot}/{death.life} at {death.at_ms}"
