"""A robot's lives, seen from the next one: which deaths it has to answer for, and whether and when it may be born.

Pure. What befell the fleet is read from the fleet log alone, so every host decides the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import Final

from broker.ports import Death, Deed, FleetRow
from broker.relay import parse_id
from robots.supervision import GiveUp, Restart, RestartPolicy

FENCED: Final = 75  # os.EX_TEMPFAIL
"""Exit status (75) of a process whose robot has a later life elsewhere."""

RECALL_US: Final = 5_000_000
"""So long after a restart of a robot, or of its RQ worker, may a death be the restart's doing: who is told to end in
order and does not is killed within 2 s. As a rule nobody has to be."""

SERVER: Final = "redis"  # as a victim

_EXCUSES: Final = ("kill", "restart", "pause", "amnesia")


class StaysDead(Exception):
    """The robot's budget of deaths is spent: it is not born again."""


def deaths_of(rows: Iterable[FleetRow], robot: str) -> list[Death]:
    """The deaths of a robot's own process or of the RQ worker that ran it, in order. Whoever ended because the robot
    has a later life (exit 75) was nobody's death."""
    victims = (robot, f"rq:{robot}")
    return [row for row in rows if isinstance(row, Death) and row.victim in victims and not _was_fenced(row)]


def charged(rows: Sequence[FleetRow], robot: str) -> list[int]:
    """When (microseconds, the server's clock) the robot died without having been made to.

    A deed (kill, restart, pause, amnesia) excuses one death after it: of its very victim, of the robot whose RQ worker
    was its victim, or of any robot when it was done to the server. A restart of anybody but the server does so only for
    `RECALL_US`: as a rule nobody dies of it.
    """
    deaths, deeds, times = deaths_of(rows, robot), list[Deed](), list[int]()
    for row in rows:
        if isinstance(row, Deed):
            if _name_of(row) in _EXCUSES:
                deeds.append(row)
        elif row in deaths:
            excuse = _excuse(deeds, (row.victim, f"rq:{robot}", SERVER), _us_of(row))
            if excuse is None:
                times.append(_us_of(row))
            else:
                deeds.remove(excuse)
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


def _excuse(deeds: Iterable[Deed], victims: Sequence[str], died_us: int) -> Deed | None:
    """The oldest deed to the first of `victims` to whom any was done that may have caused a death at `died_us`."""
    fitting = [deed for deed in deeds if deed.victim in victims and not _is_past(deed, died_us)]
    return min(fitting, key=lambda deed: victims.index(deed.victim), default=None)


def _is_past(deed: Deed, died_us: int) -> bool:
    """Whether it was a restart of a robot, or of its RQ worker, that has long ended in order."""
    is_recall = _name_of(deed) == "restart" and deed.victim != SERVER
    return is_recall and died_us - _us_of(deed) > RECALL_US


def _name_of(deed: Deed) -> str:
    return deed.text.partition(" ")[0]


def _us_of(row: FleetRow) -> int:
    return parse_id(row.entry)[0] * 1000
