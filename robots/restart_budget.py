"""The restart budget of a robot: which deaths are charged to it, and whether and when its next life may begin.

Pure. It reads injections and deaths from the fleet log alone, so every host decides the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from random import Random
from typing import Final

from broker.ports.robot import Death, FleetRow, Injection
from broker.relay.core import parse_id
from robots.supervision import GiveUp, RestartAfter, RestartPolicy

FENCED: Final = 75  # os.EX_TEMPFAIL
"""Exit status (75) of a process whose robot has a later life elsewhere."""

RECALL_US: Final = 5_000_000
"""For so long a restart of a robot, or of its RQ worker, may be the cause of a death: a process that does not end in
order is killed within 2 s. As a rule none has to be."""

SERVER: Final = "redis"  # as a victim
_EXCUSES: Final = ("kill", "restart", "pause", "amnesia")


class BudgetSpent(Exception):
    """The robot's budget of deaths is spent: it is not born again."""


def deaths_of(rows: Iterable[FleetRow], robot: str) -> list[Death]:
    """The deaths of a robot's own process or of the RQ worker that ran it, in order. A process that ended because the
    robot has a later life (exit 75) does not count."""
    processes = (robot, f"rq:{robot}")
    return [row for row in rows if isinstance(row, Death) and row.victim in processes and not _was_fenced(row)]


def charged(rows: Sequence[FleetRow], robot: str) -> list[int]:
    """When (microseconds, the server's clock) the robot died without an injection as the cause.

    An injection (kill, restart, pause, amnesia) excuses one death after it: of its victim, of the robot whose RQ worker
    was its victim, or of any robot if the victim was the server. A restart of a robot or RQ worker does so only for
    `RECALL_US`: as a rule it causes no death.
    """
    worker, times = f"rq:{robot}", list[int]()
    unused: dict[str, deque[Injection]] = {victim: deque() for victim in (robot, worker, SERVER)}
    for row in rows:
        if not isinstance(row, Injection | Death) or row.victim not in unused:  # most rows concern other robots
            continue
        if isinstance(row, Injection):
            if row.verb in _EXCUSES:
                unused[row.victim].append(row)
        elif row.victim != SERVER and not _was_fenced(row):
            causes = (unused[victim] for victim in (row.victim, worker, SERVER))
            excuse = next((injections for injections in causes if _may_excuse(injections, row)), None)
            if excuse is None:
                times.append(_us_of(row))
            else:
                excuse.popleft()
    return times


def may_be_born(
    rows: Sequence[FleetRow], robot: str, policy: RestartPolicy, now_us: int, chance: Random
) -> RestartAfter | GiveUp | None:
    """The policy's decision on a birth now: at once (None), after the rest of a delay, or never.

    It decides on the last charged death, at the time of that death, so a later call gets the same decision. `now_us` is
    this host's wall clock; if it is wrong, the wait is still never longer than the delay.
    """
    times = charged(rows, robot)
    if not times:
        return None
    decision = policy.decide(times, times[-1], chance.random())
    if isinstance(decision, GiveUp):
        return decision
    rest_us = min(times[-1] + decision.delay_us - now_us, decision.delay_us)
    return RestartAfter(decision.number, rest_us) if rest_us > 0 else None


def down_us(rows: Iterable[FleetRow], robot: str, last_incarnation: int, now_us: int) -> int | None:
    """For how long (microseconds) the robot was dead; None when it had no life before, or ended the last one in
    order."""
    deaths = deaths_of(rows, robot)
    if not deaths or last_incarnation == 0 or deaths[-1].incarnation != last_incarnation:
        return None
    return max(0, now_us - _us_of(deaths[-1]))


def _was_fenced(death: Death) -> bool:
    return death.how == "exit" and death.status == FENCED


def _may_excuse(injections: deque[Injection], death: Death) -> bool:
    """Whether one of the injections may have caused the death; it counts as caused by the first. Restarts older than
    `RECALL_US` are removed, except of the server."""
    while injections and injections[0].verb == "restart" and injections[0].victim != SERVER:
        if _us_of(death) - _us_of(injections[0]) <= RECALL_US:
            break
        injections.popleft()
    return bool(injections)


def _us_of(row: FleetRow) -> int:
    return parse_id(row.entry)[0] * 1000
