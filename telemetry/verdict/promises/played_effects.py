"""Played, for the effects of injections: what was injected into a process, shows in the record.

    kill, amnesia   the process dies: its death is recorded, or a later life follows; an amnesiac's journal is lost
    restart         the same, or the life reports that it was recalled
    pause           nothing comes from the process until it is resumed or dead
    resume          within 8 s (simulated: 3 s) a robot sends something, or the shard of a relay delivers; or it ends

A sign of life that comes too late convicts: a robot's envelope (the server's clock), a relay's event (its own clock),
or any entry of the run for a paused server. A simulated process acts no more at once. A live one may be reached late,
by a host that has no time: what went on for less than 5 s (8 s before a restart), or stood still for a second in its
pause, is UNPROVEN. An RQ worker leaves no sign of its own. Without a sign and without an effect this is UNPROVEN.
Crashes of workers are judged in supervised_workers.py, and contradictory updates in unique_contradictions.py.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from typing import Final

from telemetry.events import RECALLED, MessageReceived, ProcessDied, RobotLeft, Stamped, SupervisorBegan
from telemetry.verdict.case import Case
from telemetry.verdict.checks.excuses import SILENCE_MS, Excuses
from telemetry.verdict.checks.witnesses import CLOCKS_DIFFER_US
from telemetry.verdict.evidence.births import Births
from telemetry.verdict.evidence.fleet import SERVER, ms_of, robot_of
from telemetry.verdict.evidence.journals import Life
from telemetry.verdict.evidence.schema import DeathRow, InjectionRow
from telemetry.verdict.finding import Finding, broken, unproven
from telemetry.verdict.promises.played_injections import injected_after_go
from telemetry.verdict.recomputed.plan_lines import NEVER_US

EFFECT_MS: Final = 8_000
"""An effect shows after this time at the latest: the robot of an RQ worker elsewhere is missed after three seconds."""

_GRACES_MS: Final = {"kill": 3_000, "amnesia": 3_000, "restart": 6_000, "pause": 1_500}
_LATE_MS: Final = {"kill": 5_000, "amnesia": 5_000, "restart": 8_000, "pause": 5_000}
_SIMULATED_MS: Final = 3_000  # after which a simulated process shows that it goes on
_RESUMING_MS: Final = 500  # before the row that a process was resumed
_CLOCKS_MS: Final = CLOCKS_DIFFER_US // 1000


def missing_effects(case: Case, excuses: Excuses, go_ms: int) -> Iterator[Finding]:
    """Findings on injections that had no effect. Those that failed are reported elsewhere."""
    effects = _Effects(case, excuses)
    for _, row in injected_after_go(case, go_ms):
        if (row.verb, row.target) not in case.failed_injections and ms_of(row.id) < case.end_ms:
            yield from effects.findings(row)


class _Effects:
    def __init__(self, case: Case, excuses: Excuses) -> None:
        self._case = case
        self._excuses = excuses
        self._is_simulated = case.settings.mode == "simulated"
        self._clocks_ms = 0 if self._is_simulated else _CLOCKS_MS

    def findings(self, row: InjectionRow) -> Iterator[Finding]:
        """Findings on one injection."""
        match row.verb:
            case "kill" | "restart" | "amnesia":
                yield from self._ended(row)
            case "pause":
                yield from self._paused(row)
            case "resume":
                yield from self._resumed(row)
        if row.verb == "amnesia":
            journal = self._case.journals.get(row.victim)
            if journal is not None and not journal.lost:
                yield broken(f"the journal of {row.victim} was to be deleted, and is there", _witness(row))

    # The effects

    def _ended(self, row: InjectionRow) -> Iterator[Finding]:
        """A process that was to end, and went on."""
        at_ms = ms_of(row.id)
        ended_ms = self._ended_ms(row, at_ms)
        grace_ms = self._grace_ms(row.verb)
        signs_ms = self._signs_between(row, at_ms + grace_ms, NEVER_US if ended_ms is None else ended_ms)
        if signs_ms:
            lasted_ms = signs_ms[-1] - at_ms
            why = f"{_who(row)}, and went on for {lasted_ms / 1000:.2f} s at least"
            is_late = not self._is_simulated and lasted_ms <= self._late_ms(row, signs_ms[-1])
            yield unproven(f"{why}: its host may have had no time") if is_late else self._went_on(row, why, signs_ms[0])
        elif ended_ms is None or ended_ms > at_ms + EFFECT_MS:
            yield unproven(f"{_who(row)}, and nothing shows that it ended")

    def _paused(self, row: InjectionRow) -> Iterator[Finding]:
        """A process that was paused, and went on."""
        at_ms = ms_of(row.id)
        margin_ms = 0 if self._is_simulated else _RESUMING_MS
        over_ms = min(self._resumed_ms(row) - margin_ms, self._ended_ms(row, at_ms) or self._case.end_ms)
        late_ms = self._signs_between(row, at_ms + self._grace_ms("pause"), over_ms)
        if late_ms:
            signs_ms = [at_ms, *self._signs_between(row, at_ms, over_ms), over_ms]
            stood_ms = max(later - sooner for sooner, later in pairwise(signs_ms))
            why = f"{_who(row)}, and went on {(late_ms[-1] - at_ms) / 1000:.2f} s later"
            is_late = not self._is_simulated and (
                late_ms[-1] <= at_ms + self._late_ms(row, late_ms[-1]) or stood_ms >= SILENCE_MS
            )
            yield unproven(f"{why}: its host may have had no time") if is_late else self._went_on(row, why, late_ms[0])

    def _resumed(self, row: InjectionRow) -> Iterator[Finding]:
        """A process that was resumed, and shows nothing afterwards. What came next may be why."""
        at_ms = ms_of(row.id)
        until_ms = at_ms + (_SIMULATED_MS if self._is_simulated else EFFECT_MS)
        others = [other for other in self._case.fleet.injections if other.victim in (row.victim, SERVER)]
        if any(at_ms <= ms_of(other.id) <= until_ms for other in others if other.id != row.id):
            return
        paused_ms = (ms_of(other.id) for other in others if (other.verb, other.victim) == ("pause", row.victim))
        ended_ms = self._ended_ms(row, max((ms for ms in paused_ms if ms <= at_ms), default=at_ms))
        is_ended = ended_ms is not None and ended_ms <= until_ms and not self._fell_silent(row.victim, at_ms, until_ms)
        if until_ms >= self._case.end_ms or is_ended:
            return
        signs_ms = self._signs_of_going_on(row.victim, at_ms)
        if signs_ms is not None and not _between(signs_ms, at_ms, until_ms):
            why = f"{row.victim} was resumed, and nothing shows that it went on"
            excuse = self._excuses.between(at_ms, until_ms)
            yield unproven(f"{why}: {excuse}" if excuse else why)

    def _went_on(self, row: InjectionRow, why: str, until_ms: int) -> Finding:
        """An outage may have kept the injection from its process, and a leader may have died before it was done."""
        excuse = self._excuses.apart_from_stalls(ms_of(row.id), until_ms)
        return unproven(f"{why}: {excuse}") if excuse else broken(why, _witness(row))

    # What is known of a process

    def _ended_ms(self, row: InjectionRow, since_ms: int) -> int | None:
        """When the process is first known to have ended after the injection; None when nothing shows it."""
        known_ms = [ms for ms in self._deaths_ms.get(row.victim.removeprefix("rq:"), ()) if ms >= since_ms]
        known_ms += [ms for ms in self._reported_ms.get(row.victim, ()) if ms >= since_ms - self._clocks_ms]
        robot = robot_of(row.victim)
        if robot:
            life = self._life_at(robot, since_ms)
            born_ms = self._case.births.get(robot, Births()).any_after_ms(life[1])
            known_ms += [born_ms] if born_ms is not None else []
            known_ms += self._recalled_ms(life) if row.verb == "restart" else []
        elif row.victim == "supervisor":
            known_ms += [ms for ms in self._supervisors_ms if ms >= since_ms]
        return min(known_ms, default=None)

    @cached_property
    def _deaths_ms(self) -> dict[str, list[int]]:
        """When each process died, by its name, or that of its robot."""
        deaths: dict[str, list[int]] = defaultdict(list)
        for row in self._case.fleet.rows:
            if isinstance(row, DeathRow):
                deaths[row.robot or robot_of(row.victim) or row.victim].append(ms_of(row.id))
        return deaths

    @cached_property
    def _reported_ms(self) -> dict[str, list[int]]:
        """When the parent reported that a process of it ended (its own clock): of relays that end in order, the fleet
        log has no row."""
        reported: dict[str, list[int]] = defaultdict(list)
        for stamped in self._case.events:
            if isinstance(stamped.event, ProcessDied):
                reported[stamped.event.process].append(stamped.wall_us // 1000)
        return reported

    @cached_property
    def _supervisors_ms(self) -> list[int]:
        began = (stamped for stamped in self._case.events if isinstance(stamped.event, SupervisorBegan))
        return [stamped.wall_us // 1000 for stamped in began]

    def _recalled_ms(self, life: Life) -> list[int]:
        left = (each for each in self._case.testimony.get(life, ()) if each.event == RobotLeft(RECALLED))
        return [each.wall_us // 1000 for each in left]

    def _resumed_ms(self, row: InjectionRow) -> int:
        """When the process was resumed after its pause; the end of the run when it was not."""
        resumed_ms = (
            ms_of(other.id)
            for other in self._case.fleet.injections
            if (other.verb, other.victim) == ("resume", row.victim) and ms_of(other.id) >= ms_of(row.id)
        )
        return min(resumed_ms, default=self._case.end_ms)

    def _life_at(self, robot: str, at_ms: int) -> Life:
        birth = self._case.births.get(robot, Births()).latest_by(at_ms)
        return robot, birth.life if birth is not None else 0

    # Signs of life

    def _signs_between(self, row: InjectionRow, after_ms: int, until_ms: int) -> list[int]:
        """When the process of then showed that it went on, in order, in that time by any clock."""
        if row.victim == SERVER:
            return _between(self._excuses.stamps_ms, after_ms, until_ms) if row.verb == "pause" else []
        if not (robot := robot_of(row.victim)):
            signs_ms = self._relay_signs_ms(row.victim, ms_of(row.id))
            return _between(signs_ms, after_ms + self._clocks_ms, until_ms - self._clocks_ms)
        is_worker_alone = row.verb == "pause" and row.victim != robot
        signs_ms = [] if is_worker_alone else self._sent_ms[self._life_at(robot, ms_of(row.id))]
        return _between(signs_ms, after_ms, until_ms)

    def _fell_silent(self, robot: str, after_ms: int, until_ms: int) -> bool:
        """Whether a simulated robot was killed for its silence in that time: one that was resumed is not."""
        deaths = self._case.fleet.deaths.get(robot, ()) if self._is_simulated else ()
        return any(death.how == "silent" and after_ms <= death.at_ms <= until_ms for death in deaths)

    def _signs_of_going_on(self, victim: str, at_ms: int) -> list[int] | None:
        """When a robot sent something, or something reached a robot from the shard of a relay that was sent after
        `at_ms`; None for a process that leaves no such sign."""
        if victim == robot_of(victim):
            return self._sent_ms[self._life_at(victim, at_ms)]
        shard = victim.removeprefix("relay:")
        if victim == SERVER or not shard.isdecimal():
            return None
        return sorted(sent_ms for sent_ms in self._received_sent_ms.get(int(shard), ()) if sent_ms >= at_ms)

    @cached_property
    def _received_sent_ms(self) -> dict[int, list[int]]:
        """Of each shard, when that was sent which robots received before the run ended."""
        found: dict[int, list[int]] = defaultdict(list)
        end_us = (self._case.end_ms + self._clocks_ms) * 1000
        for (receiver, _), events in self._case.testimony.items():
            for stamped in events:
                if isinstance(event := stamped.event, MessageReceived) and stamped.wall_us < end_us:
                    place = event.sender, event.sender_incarnation, receiver, event.sequence
                    sent_ms = self._case.traffic.sent_ms.get(place)
                    if sent_ms is not None and event.sender in self._case.shards:
                        found[self._case.shards[event.sender]].append(sent_ms)
        return found

    def _relay_signs_ms(self, relay: str, at_ms: int) -> list[int]:
        """Of the relay's life that had emitted something before that time."""
        events = self._relays.get(relay, [])
        lives = {each.incarnation for each in events if each.wall_us // 1000 < at_ms - self._clocks_ms}
        last = max(lives, default=None)
        return sorted(each.wall_us // 1000 for each in events if each.incarnation == last)

    @cached_property
    def _relays(self) -> dict[str, list[Stamped]]:
        relays: dict[str, list[Stamped]] = defaultdict(list)
        for stamped in self._case.events:
            if stamped.source.startswith("relay:"):
                relays[stamped.source].append(stamped)
        return relays

    @cached_property
    def _sent_ms(self) -> dict[Life, list[int]]:
        """When each life sent envelopes (server's clock), in order."""
        sent: dict[Life, list[int]] = defaultdict(list)
        for (_, sent_ms, _), row in self._case.traffic.envelopes():
            if row.sender is not None and row.incarnation is not None:
                sent[row.sender, row.incarnation].append(sent_ms)
        for times_ms in sent.values():
            times_ms.sort()
        return sent

    def _late_ms(self, row: InjectionRow, until_ms: int) -> int:
        """For how long a live process may go on: longer, if the leader stalled meanwhile."""
        return _LATE_MS[row.verb] + self._excuses.stalled_ms(ms_of(row.id), until_ms)

    def _grace_ms(self, verb: str) -> int:
        """How long after its injection a process may still act. A simulated one acts in no later moment, but a recalled
        robot ends in order."""
        return 0 if self._is_simulated and verb != "restart" else _GRACES_MS[verb]


def _between(times_ms: list[int], after_ms: int, until_ms: int) -> list[int]:
    """Those after the one and before the other."""
    return times_ms[bisect_right(times_ms, after_ms) : bisect_left(times_ms, until_ms)]


def _who(row: InjectionRow) -> str:
    done = {"kill": "killed", "restart": "restarted", "amnesia": "killed", "pause": "paused"}
    return f"{row.victim} was {done[row.verb]}"


def _witness(row: InjectionRow) -> str:
    return f"fleet log, injection {row.id}"
