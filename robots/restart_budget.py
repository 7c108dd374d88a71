"""A robot's lives, seen from the next one: which deaths it has to answer for, and whether and when it may be born.

Pure. What befell the fleet is read from the fleet log alone, so every host decides the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from random import Random
from typing import Final

from broker.ports.robot import Death, FleetRow, Injection
from broker.relay.core import parse_id
from robots.supervision import GiveUp, Restart, RestartPolicy

FENCED: Final = 75  # os.EX_TEMPFAIL
"""Exit status (75) of a process whose robot has a later life elsewhere."""

RECALL_US: Final = 5_000_000
"""So long after a restart of a robot, or of its RQ worker, may a death be the restart's doing: who is told to end in
order and does not is killed within 2 s. As a rule nobody has to be."""

SERVER: Final = "redis"  # as a victim
_EXCUSES: Final = ("kill", "restart", "pause", "amnesia")


class BudgetSpent(Exception):
    """The robot's budget of deaths is spent: it is not born again."""


def deaths_of(rows: Iterable[FleetRow], robot: str) -> list[Death]:
    """The deaths of a robot's own process or of the RQ worker that ran it, in order. Whoever ended because the robot
    has a later life (exit 75) was nobody's death."""
    injector = (robot, f"rq:{robot}")
    return [row for row in rows if row.victim in injector and isinstance(row, Death) and not _was_fenced(row)]


def charged(rows: Sequence[FleetRow], robot: str) -> list[int]:
    """When (microseconds, the server's clock) the robot died without having been made to.

    A deed (kill, restart, pause, amnesia) excuses one death after it: of its very victim, of the robot whose RQ worker
    was its victim, or of any robot when it was done to the server. A restart of anybody but the server does so only for
    `RECALL_US`: as a rule nobody dies of it.
    """
    worker, times = f"rq:{robot}", list[int]()
    unused: dict[str, deque[Injection]] = {victim: deque() for victim in (robot, worker, SERVER)}
    for row in [row for row in rows if row.victim in unused]:  # most rows are other robots'
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
) -> Restart | GiveUp | None:
    """What the policy says of a birth now: None, after the rest of a delay, or never.

    It is asked about the last charged death, at the time of that death: whoever asks later hears the same. `now_us`
    is this host's wall clock; however wrong that is, nobody waits longer than the delay.
    """
    times = charged(rows, robot)
    if not times:
        return None
    decision = policy.decide(times, times[-1], chance.random())
    if isinstance(decision, GiveUp):
        return decision
    rest_us = min(times[-1] + decision.delay_us - now_us, decision.delay_us)
    return Restart(decision.number, rest_us) if rest_us > 0 else None


def down_us(rows: Iterable[FleetRow], robot: str, last_incarnation: int, now_us: int) -> int | None:
    """For how long the robot was dead; None when it had no life before, or handed its job back in order."""
    deaths = deaths_of(rows, robot)
    if not deaths or last_incarnation == 0 or deaths[-1].incarnation != last_incarnation:
        return None
    return max(0, now_us - _us_of(deaths[-1]))


def _was_fenced(death: Death) -> bool:
    return death.how == "exit" and death.status == FENCED


def _may_excuse(injections: deque[Injection], death: Death) -> bool:
    """Whether one of the deeds may have caused the death: the first does then. Restarts of robots and RQ workers that
    have long ended in order are forgotten."""
    while injections and injections[0].verb == "restart" and injections[0].victim != SERVER:
        if _us_of(death) - _us_of(injections[0]) <= RECALL_US:
            break
        injections.popleft()
    return bool(injections)


def _us_of(row: FleetRow) -> int:
    return parse_id(row.entry)[0] * 1000
