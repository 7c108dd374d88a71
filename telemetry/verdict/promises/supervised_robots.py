"""Whether robots live again, in time and within the policy: what is asked of those who look after them.

A death of a robot's process, charged to its budget or not (fleet.py says which is), is followed by its next life's
birth, or by the death of the process that was to live next, within the policy's delay (restarts.py) and 5 s; no life
is born sooner than the delay after a charged death, nor when more than 5 were charged within 30 s. Exempt is

* a death so short before the order to stop that this time was not over, or after it;
* a robot that gave up, said so, and had its budget spent; it is named. Without the word this stays UNPROVEN;
* a robot that was told to wait because no RQ worker is free: it is named, and UNPROVEN if it still waits at the end,
  or if nobody had said so for 10 s when it was born: an RQ worker may have been free;
* a robot whose journal is lost: UNPROVEN.

A robot whose RQ worker was told to end dies no death: its last word is that it was recalled, and its job goes back to
the queue. If it was never born again although there was as much time, that is UNPROVEN, whether it was told to wait or
not: nobody else's word shows who should have taken it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Final

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
from telemetry.verdict.finding import Finding, broken, unproven

WAIT_REPORT_VALID_US: Final = 10_000_000
"""For so long is the word believed that a robot waits."""


class _Budget:
    """When a robot's deaths were charged."""

    def __init__(self, deaths: Sequence[RobotDeath] = ()) -> None:
        charged = [death for death in deaths if death.is_charged]
        of_lives = {death.life: death.at_ms * 1000 for death in charged}  # several that name one life are one
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
    """What speaks against whoever should have started robots again after their deaths."""
    budgets = {robot: _Budget(deaths) for robot, deaths in case.fleet.deaths.items()}
    for downtime in case.downtimes:
        yield from _late(case, downtime, budgets[downtime.robot])
        yield from _against_policy(downtime, budgets[downtime.robot])


def requeued_robots(case: Case) -> Iterator[Finding]:
    """A doubt for each robot whose job went back to the queue, and that nobody took from there in time."""
    for robot, recalled_us in sorted(recalls(case).items()):
        budget = _Budget(case.fleet.deaths.get(robot, ()))
        recalled_ms = recalled_us // 1000
        away_ms = case.fleet.away_ms(recalled_ms, case.end_ms)
        if away_ms * 1000 <= longest_us(budget.spent_by(recalled_ms)) + ROBOTS_GRACE_US:
            continue
        if _was_reported_waiting(case, robot, recalled_us, case.end_ms * 1000):
            yield unproven(f"{robot} waits since it was recalled: no RQ worker is free")
        else:
            yield unproven(f"{robot} was recalled, and not born again in {away_ms / 1000:.2f} s, nor told to wait")


def was_waiting(case: Case, downtime: Downtime) -> bool:
    """Whether it was told that the robot waits for an RQ worker while it did not live."""
    end_ms = case.end_ms if downtime.birth is None else downtime.birth.at_ms
    return _was_reported_waiting(case, downtime.robot, downtime.deaths[0].at_ms * 1000, end_ms * 1000)


def _was_reported_waiting(case: Case, robot: str, start_us: int, end_us: int) -> bool:
    told_us = case.wait_reports_us.get(robot, [])
    place = bisect_left(told_us, start_us - CLOCKS_DIFFER_US)
    return place < len(told_us) and told_us[place] <= end_us + CLOCKS_DIFFER_US


def _unreported_wait(case: Case, downtime: Downtime) -> Iterator[Finding]:
    """A doubt when a robot was born long after it was last told to wait."""
    assert downtime.birth is not None
    born_us, told_us = downtime.birth.at_ms * 1000, case.wait_reports_us[downtime.robot]
    silent_us = born_us - told_us[bisect_right(told_us, born_us + CLOCKS_DIFFER_US) - 1]
    if silent_us > WAIT_REPORT_VALID_US:
        said = f"was told to wait, and for {silent_us / 1e6:.1f} s before it lived again nobody said so"
        yield unproven(f"{downtime.robot} {said}: an RQ worker may have been free")


def _late(case: Case, downtime: Downtime, budget: _Budget) -> Iterator[Finding]:
    """What speaks against whoever should have started the robot again."""
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
    """What is left of a robot that was not started again in time: nothing, a doubt, or None when it has no excuse."""
    robot, comes_back = death.robot, downtime.birth is not None
    journal = case.journals.get(robot)
    if journal is None or journal.lost:
        return [unproven(f"{death}, and its journal is not there: nobody can be born again")]
    if was_waiting(case, downtime):
        if not comes_back:
            return [unproven(f"{robot} waits since its death: no RQ worker is free")]
        return list(_unreported_wait(case, downtime))
    if not comes_back and charged > MOST_RESTARTS:
        said_so = robot in case.given_up  # the robot itself, not a worker of it
        return [] if said_so else [unproven(f"{death}, its budget spent, and did not say that it gave up")]
    return None


def _against_policy(downtime: Downtime, budget: _Budget) -> Iterator[Finding]:
    """What speaks against a life that was born when the policy did not allow it. Several deaths that name one life are
    one, however many told of it."""
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
