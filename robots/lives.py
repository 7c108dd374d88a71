"""A robot's lives, seen from the next one: which deaths it has to answer for, and whether and when it may be born.

Pure. What befell the fleet is read from the fleet log alone, so every host decides the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random
from typing import Final

from broker.ports import Death, Deed, FleetRow
from broker.relay import parse_id
from robots.supervision import GiveUp, Restart, RestartPolicy

FENCED: Final = 75  # os.EX_TEMPFAIL
"""Exit status (75) of a process whose robot has a later life elsewhere."""

_EXCUSES: Final = ("kill", "restart", "pause", "amnesia")


class StaysDead(Exception):
    """The robot's budget of deaths is spent: it is not born again."""


def deaths_of(rows: Iterable[FleetRow], robot: str) -> list[Death]:
    """The deaths of a robot's own process or of the RQ worker that ran it, in order. Whoever ended because the robot
    has a later life (exit 75) was nobody's death."""
    victims = (robot, f"rq:{robot}")
    return [row for row in rows if row.victim in victims and isinstance(row, Death) and not _was_fenced(row)]


def charged(rows: Sequence[FleetRow], robot: str) -> list[int]:
    """When (microseconds, the server's clock) the robot died without having been made to.

    A deed (kill, restart, pause, amnesia) excuses one death after it: of its very victim, of the robot whose RQ worker
    was its victim, or of any robot when it was done to the server.
    """
    unused, times = Counter[str](), list[int]()  # by victim, the deeds that have excused nothing yet
    worker, server = f"rq:{robot}", "redis"
    victims = (robot, worker, server)
    for row in [row for row in rows if row.victim in victims]:  # most rows are other robots'
        if isinstance(row, Deed):
            unused[row.victim] += row.text.partition(" ")[0] in _EXCUSES
        elif row.victim != server and not _was_fenced(row):
            excuse = next((victim for victim in (row.victim, worker, server) if unused[victim]), None)
            if excuse is None:
                times.append(_us_of(row))
            else:
                unused[excuse] -= 1
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


def _us_of(row: FleetRow) -> int:
    return parse_id(row.entry)[0] * 1000
