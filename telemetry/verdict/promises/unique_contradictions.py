"""Unique, for contradictory updates: each that was injected is refused by its victim, which reports the violation.

A report is a victim's event of an update in the name of a life that was never born. Injections and reports are matched
in the order of time. Where one has no report, the victim's life of then and its later ones decide:

* BROKEN is a life that received an envelope which was sent a second or more after the injection was reported as done,
  and went on for two seconds more: an inbox is read in order, so it had read the contradictory update as well.
* A life that was killed may have lost its report with its tail: that is UNPROVEN. So is a life that went on for more
  than a second without showing what it read, or whose inbox lost entries.
* A life that ended sooner had no time to read it. An injection that failed requires nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from telemetry.events import FaultInjected, InboxOverflowed, InvariantViolated, MessageReceived, MessageTrimmed, Stamped
from telemetry.verdict.case import Case
from telemetry.verdict.checks.witnesses import CLOCKS_DIFFER_US, ended_itself, first_missing
from telemetry.verdict.evidence.births import Births
from telemetry.verdict.evidence.fleet import ms_of
from telemetry.verdict.evidence.journals import Life
from telemetry.verdict.evidence.schema import InjectionRow
from telemetry.verdict.finding import Finding, broken, unproven

VERB: Final = "contradict"
REACTION_US: Final = 2_000_000
"""The longest time in which a secret merger, with restarts, reaches an update that its inbox reader has read."""

_UNREAD_US: Final = 1_000_000
"""A life that ends sooner after its birth and a contradictory update may not have read it."""


class Contradiction(NamedTuple):
    """An injection, and when it was reported as done (the leader's clock); None when no report is left for it."""

    row: InjectionRow
    done_us: int | None

    @property
    def put_us(self) -> int:
        """When it was recorded, which comes first (server's clock)."""
        return ms_of(self.row.id) * 1000


def contradictions(case: Case) -> list[Contradiction]:
    """The contradictory updates that were injected, in order, without those that failed. Raises EvidenceError."""
    done_us = _done_us(case)
    found: list[Contradiction] = []
    for row in case.fleet.injections:
        if row.verb == VERB:
            done = _take_first(done_us.get(row.victim, []), ms_of(row.id) * 1000)
            if done is not None or (row.verb, row.target) not in case.failed_injections:
                found.append(Contradiction(row, done))
    return found


def unanswered_contradictions(case: Case) -> Iterator[Finding]:
    """Findings on contradictory updates that no victim reported."""
    reports_us = _reports_us(case)
    for contradiction in contradictions(case):
        if _take_first(reports_us.get(contradiction.row.victim, []), contradiction.put_us) is None:
            yield from _unreported(case, contradiction)


def _take_first(times_us: list[int], since_us: int) -> int | None:
    """Remove the first of `times_us` that is not before `since_us` by more than clocks differ; None when none is."""
    found = next((at_us for at_us in times_us if at_us >= since_us - CLOCKS_DIFFER_US), None)
    if found is not None:
        times_us.remove(found)
    return found


def _reports_us(case: Case) -> dict[str, list[int]]:
    """When each robot reported refused updates of lives that were never born (its own clock), each update once."""
    found: dict[str, dict[tuple[str, int, int], int]] = {}
    for (robot, _), events in case.testimony.items():
        for stamped in events:
            violation = stamped.event
            if isinstance(violation, InvariantViolated) and _is_of_no_life(case, violation):
                update = violation.sender, violation.sender_incarnation, violation.sequence
                found.setdefault(robot, {}).setdefault(update, stamped.wall_us)
    return {robot: sorted(reports.values()) for robot, reports in found.items()}


def _is_of_no_life(case: Case, violation: InvariantViolated) -> bool:
    born = case.births.get(violation.sender, Births()).all
    return all(birth.life != violation.sender_incarnation for birth in born)


def _done_us(case: Case) -> dict[str, list[int]]:
    """When contradictory updates were reported as put into each victim's inbox (the leader's clock), in order."""
    done: dict[str, list[int]] = {}
    for stamped in case.events:
        if isinstance(stamped.event, FaultInjected) and stamped.event.verb == VERB:
            done.setdefault(stamped.event.victim, []).append(stamped.wall_us)
    return {victim: sorted(times) for victim, times in done.items()}


def _unreported(case: Case, contradiction: Contradiction) -> Iterator[Finding]:
    """The finding on one that was not reported: by the life of then, or the first later one that decides."""
    (row, done_us), put_us, victim = contradiction, contradiction.put_us, contradiction.row.victim
    born = case.births.get(victim, Births())
    first = born.latest_by(put_us // 1000)
    for birth in born.all:
        if first is not None and birth.life < first.life:
            continue
        events = case.testimony.get((victim, birth.life)) or []
        who = f"{victim}/{birth.life}"
        if not events or first_missing(events) is not None:
            yield unproven(
                f"a contradictory update was put into {victim}'s inbox, and {who}'s events are not all there"
            )
            return
        if done_us is not None and _read_it(case, victim, events, max(done_us, put_us)):
            yield broken(f"{who} went on after a contradictory update, and reported none", f"injection {row.id}")
            return
        if _had_ended(case, (victim, birth.life), events, put_us):
            continue
        if not ended_itself(events):
            yield unproven(f"{who} was killed after a contradictory update; whether it had refused it is not known")
            return
        lost = any(isinstance(stamped.event, InboxOverflowed | MessageTrimmed) for stamped in events)
        if lost or events[-1].wall_us - max(put_us, birth.at_ms * 1000) > _UNREAD_US:
            yield unproven(f"{who} reported no contradictory update, and nothing shows whether it had read one")
            return


def _had_ended(case: Case, life: Life, events: list[Stamped], put_us: int) -> bool:
    """Whether a life had certainly ended by then: its death was recorded, or it had reported its end."""
    died = any(death.at_ms * 1000 < put_us for death in case.fleet.deaths_of_lives.get(life, ()))
    return died or (ended_itself(events) and events[-1].wall_us + CLOCKS_DIFFER_US < put_us)


def _read_it(case: Case, victim: str, events: list[Stamped], done_us: int) -> bool:
    """Whether a life received something that came into its inbox later, and had the time to react."""
    if any(isinstance(stamped.event, InboxOverflowed | MessageTrimmed) for stamped in events):
        return False
    due_us, sent_ms = events[-1].monotonic_us - REACTION_US, case.traffic.sent_ms
    return any(
        stamped.monotonic_us <= due_us
        and sent_ms.get((event.sender, event.sender_incarnation, victim, event.sequence), 0) * 1000
        >= done_us + CLOCKS_DIFFER_US
        for stamped in events
        if isinstance(event := stamped.event, MessageReceived)
    )
