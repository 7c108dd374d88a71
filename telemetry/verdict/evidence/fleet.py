"""What fleet.jsonl shows: process faults that were injected, deaths, and the downtimes of robots. Judges nothing.

A second opinion, so nothing here may be shared with the code that restarts. The specification in short:

* A death is a robot's when its victim is the robot itself (`r03`) or the RQ worker that ran it.
* A death is charged to the robot's budget, unless an injection (kill, restart, pause or amnesia) on the victim, on the
  RQ worker of that robot or on the server precedes it, and has not excused another death of that robot yet. A restart
  of a robot or of an RQ worker usually ends in order, and excuses a death for no more than 5 s.
* A process that ends with status 75 found a later life of its robot: that is no death of the robot. Nor is a death that
  names a life whose envelopes were sent afterwards; but a robot that lost its lease counts as dead, whatever it sends.
* How long robots were away counts from the last row about the server, if one came meanwhile: an outage is no delay. A
  failed injection is no outage: then only a death that it caused counts.
* No delay either is a time in which no supervisor led the run (a gap in the leadership): each stretch of a robot's
  absence between such times counts for itself, because who leads anew begins anew to wait for leases.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from functools import cached_property
from typing import Final, NamedTuple

from telemetry.verdict.evidence.births import Births, LifeBirth
from telemetry.verdict.evidence.journals import Life
from telemetry.verdict.evidence.schema import AcknowledgementRow, DeathRow, FailureRow, InjectionRow, LeadershipGapRow

FENCED: Final = 75
SERVER: Final = "redis"
_EXCUSES: Final = frozenset({"kill", "restart", "pause", "amnesia"})
_RECALL_MS: Final = 5_000
_RELAY = re.compile(r"relay:([0-9]+)")
_ROBOT = re.compile(r"(?:rq:)?(r[0-9]+)")


FleetRow = InjectionRow | FailureRow | DeathRow | AcknowledgementRow | LeadershipGapRow


class RobotDeath(NamedTuple):
    """A death of a robot's process. `life`: the last one claimed in its journal then (0: none)."""

    robot: str
    life: int
    at_ms: int
    how: str
    status: int
    is_charged: bool

    @property
    def is_fenced(self) -> bool:
        """Whether it was a process whose robot had a later life."""
        return _is_fenced(self)

    def __str__(self) -> str:
        ends = {"silent": "fell silent", "lease": "lost its lease", "signal": f"was killed (signal {-self.status})"}
        return f"{self.robot}/{self.life} {ends.get(self.how, f'ended (exit {self.status})')}"


class Downtime(NamedTuple):
    """A time in which a robot did not live: one death at least, and the birth that ended it, if one did."""

    robot: str
    deaths: tuple[RobotDeath, ...]
    birth: LifeBirth | None


class FleetEvidence:
    """`rows`: the injections and deaths of a run, in their order; failures and answers to people's requests excuse
    nothing, and stand apart. `gaps`: when no supervisor led it, from and until (server's clock, ms). `failed`: verb
    and target of the injections that are known to have failed, each at least once."""

    def __init__(self, rows: Iterable[FleetRow], failed: Set[tuple[str, str]] = frozenset()) -> None:
        rows = list(rows)
        self.acknowledgements = [row for row in rows if isinstance(row, AcknowledgementRow)]
        self.failures = [row for row in rows if isinstance(row, FailureRow)]
        self.rows = tuple(row for row in rows if isinstance(row, InjectionRow | DeathRow))
        gaps = ((ms_of(row.id), row.away_us // 1000) for row in rows if isinstance(row, LeadershipGapRow))
        self.gaps = [(until_ms - away_ms, until_ms) for until_ms, away_ms in gaps]
        self._failed = failed
        self.injections = [row for row in self.rows if isinstance(row, InjectionRow)]

    @cached_property
    def deaths(self) -> dict[str, list[RobotDeath]]:
        """By robot, in order."""
        deaths: dict[str, list[RobotDeath]] = defaultdict(list)
        injections: dict[str, list[InjectionRow]] = defaultdict(list)  # by victim
        used: Counter[tuple[str, str]] = Counter()  # by robot and victim, those that excused a death of the robot
        for row in self.rows:
            if isinstance(row, InjectionRow):
                if row.verb in _EXCUSES:
                    injections[row.victim].append(row)
            elif robot := row.robot or robot_of(row.victim):
                causes = (row.victim, f"rq:{robot}", SERVER)
                unused = (victim for victim in causes if _find_cause(injections[victim], used, (robot, victim), row))
                excuse = None if _is_fenced(row) else next(unused, None)
                if excuse is not None:
                    used[robot, excuse] += 1
                is_charged = excuse is None and not _is_fenced(row)
                deaths[robot].append(RobotDeath(robot, row.incarnation, ms_of(row.id), row.how, row.status, is_charged))
        return deaths

    @cached_property
    def deaths_of_lives(self) -> dict[Life, list[RobotDeath]]:
        """The deaths that name each life, in order."""
        named: dict[Life, list[RobotDeath]] = defaultdict(list)
        for robot, deaths in self.deaths.items():
            for death in deaths:
                named[robot, death.life].append(death)
        return named

    @cached_property
    def relay_deaths_ms(self) -> dict[int, int]:
        """When the relay of each shard last died, unless in order."""
        deaths = (row for row in self.rows if isinstance(row, DeathRow) and (row.how, row.status) != ("exit", 0))
        relays = ((match[1], row.id) for row in deaths if (match := _RELAY.fullmatch(row.victim)))
        return {int(shard): ms_of(entry) for shard, entry in relays}

    def downtimes(self, births: Mapping[str, Births], last_sent_ms: Mapping[Life, int]) -> Iterator[Downtime]:
        """When robots did not live. `births` by robot; `last_sent_ms`: when each life sent its last envelope."""
        for robot, deaths in self.deaths.items():
            born, ended = births.get(robot, Births()), dict[LifeBirth | None, list[RobotDeath]]()
            for death in deaths:
                birth = born.after(death.life, 0 if death.life else death.at_ms)
                survived = last_sent_ms.get((robot, death.life), 0) > death.at_ms
                if not death.is_fenced and not (survived and (birth is None or death.how != "lease")):
                    ended.setdefault(birth, []).append(death)
            for birth, several in ended.items():
                yield Downtime(robot, tuple(several), birth)

    def away_ms(self, start_ms: int, end_ms: int) -> int:
        """How long a robot was away from `start_ms` to `end_ms`: the longest stretch in which the server was there, and
        somebody led the run."""
        place = bisect_right(self._server_ms, end_ms)
        since_ms, longest_ms = max(start_ms, self._server_ms[place - 1] if place else start_ms), 0
        for from_ms, until_ms in self.gaps:
            if until_ms > since_ms and from_ms < end_ms:
                longest_ms, since_ms = max(longest_ms, from_ms - since_ms), until_ms
        return max(longest_ms, end_ms - since_ms)

    def gap_ms(self, start_ms: int, end_ms: int) -> int:
        """For how much of that time no supervisor led the run."""
        return sum(max(0, min(until_ms, end_ms) - max(from_ms, start_ms)) for from_ms, until_ms in self.gaps)

    @cached_property
    def _server_ms(self) -> list[int]:
        """When the server died, or an injection on it did not fail."""
        rows = [row for row in self.rows if row.victim == SERVER]
        return sorted(
            ms_of(row.id) for row in rows if isinstance(row, DeathRow) or (row.verb, row.target) not in self._failed
        )

    def last_change_ms(self, end_ms: int) -> int:
        """The time of the last injection or death before `end_ms`; 0 when there is none."""
        return max((at_ms for row in self.rows if (at_ms := ms_of(row.id)) < end_ms), default=0)

    def paused(self, end_ms: int) -> set[str]:
        """The robots that were paused at `end_ms`, and not dead."""
        paused: set[str] = set()
        for row in self.rows:
            if ms_of(row.id) >= end_ms:
                break
            match row:
                case InjectionRow(verb="pause", victim=robot) if robot == robot_of(robot):
                    paused.add(robot)
                case InjectionRow(verb="resume", victim=robot):
                    paused.discard(robot)
                case DeathRow(victim=victim, robot=robot):
                    paused.discard(robot or robot_of(victim))
        return paused


def robot_of(victim: str) -> str:
    """The robot that a victim is or runs; empty for any other process, and for a worker inside a robot."""
    match = _ROBOT.fullmatch(victim)
    return match[1] if match else ""


def ms_of(entry: str) -> int:
    """When the entry of that id was made (server's clock)."""
    return int(entry.partition("-")[0])


def _is_fenced(death: DeathRow | RobotDeath) -> bool:
    return death.how == "exit" and death.status == FENCED


def _find_cause(
    injections: list[InjectionRow], used: Counter[tuple[str, str]], who: tuple[str, str], death: DeathRow
) -> bool:
    """Whether one of a victim's `injections` may have caused the death, and is unused. `used` counts, from the first,
    those that excused a death of the robot, and restarts that are too old to excuse one."""
    while used[who] < len(injections) and not _may_have_caused(injections[used[who]], death):
        used[who] += 1
    return used[who] < len(injections)


def _may_have_caused(injection: InjectionRow, death: DeathRow) -> bool:
    is_recall = injection.verb == "restart" and injection.victim != SERVER
    return not is_recall or ms_of(death.id) - ms_of(injection.id) <= _RECALL_MS
