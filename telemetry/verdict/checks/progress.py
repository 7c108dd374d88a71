"""Whether a robot that is not complete could have gone on: how many ticks it executed, and when it last learnt a part.

Time on a clock is no measure: on a machine with too much to do, robots and relays are slow, and slow is not guilty.
"""

from __future__ import annotations

from typing import Final

from telemetry.events import MessageReceived, Stamped, TicksExecuted
from telemetry.verdict.case import Case
from telemetry.verdict.evidence.fleet import ms_of
from telemetry.verdict.evidence.journals import RobotJournal
from telemetry.verdict.evidence.schema import FateRow
from telemetry.verdict.evidence.traffic import Key

LATE_COPY_US: Final = 1_000_000
"""Copies that come later than this show that a relay could not keep up."""

_Address = tuple[str | None, int | None, int | None]


def hindrance(case: Case, journal: RobotJournal, since_ms: int, until_ms: int, needed: int) -> str:
    """Why the robot could not be expected to be complete; empty when it could: since it last learnt something, and
    since `since_ms`, it has executed `needed` ticks, and copies came to it in time."""
    robot, deliveries = journal.robot, _deliveries_to(case, journal.robot)
    learnt_ms = _learnt_ms(journal, deliveries, until_ms)
    ticks = executed_ticks(case, robot, max(since_ms, learnt_ms), until_ms)
    if ticks < needed:
        since = "it last learnt a part" if learnt_ms > since_ms else "go and the last change of plan or fleet"
        return f"{robot} executed only {ticks} of {needed} ticks since {since}"
    late_us = _latest_us(case, robot, deliveries, since_ms, until_ms)
    if late_us > LATE_COPY_US:
        return f"copies came to {robot} up to {late_us / 1e6:.1f} s late: a relay could not keep up"
    return ""


def executed_ticks(case: Case, robot: str, since_ms: int, until_ms: int) -> int:
    """How many ticks the robot reports to have executed in that time, at least: a report whose ticks may have begun
    before is not counted."""
    ticks = 0
    for life in case.journals[robot].lives:
        before_us = 0
        for stamped in case.testimony[robot, life]:
            before_us = before_us or stamped.wall_us  # none before the first event of the life
            if isinstance(stamped.event, TicksExecuted):
                is_within = since_ms * 1000 <= before_us and stamped.wall_us <= until_ms * 1000
                ticks += stamped.event.ticks * is_within
                before_us = stamped.wall_us
    return ticks


def _deliveries_to(case: Case, robot: str) -> dict[_Address, tuple[Key, FateRow]]:
    """The envelopes that were delivered to the robot, by sender, life and sequence."""
    return {
        (row.sender, row.incarnation, row.sequence): (key, row)
        for key, row in case.traffic.envelopes()
        if row.receiver == robot and row.deliveries
    }


def _learnt_ms(journal: RobotJournal, deliveries: dict[_Address, tuple[Key, FateRow]], until_ms: int) -> int:
    """When the robot last learnt a part, by the envelope that brought it (server's clock); 0: never."""
    causes = (part.row.cause for part in journal.parts if part.row.cause is not None)
    times = (_due_us(deliveries.get(cause[:3]), cause[3]) // 1000 for cause in causes)
    return max((time_ms for time_ms in times if time_ms <= until_ms), default=0)


def _latest_us(
    case: Case, robot: str, deliveries: dict[_Address, tuple[Key, FateRow]], since_ms: int, until_ms: int
) -> int:
    """By how much the latest copy that the robot received in that time was late, by its inbox (server's clock)."""
    received = (
        stamped
        for life in case.journals[robot].lives
        for stamped in case.testimony[robot, life]
        if isinstance(stamped.event, MessageReceived) and since_ms * 1000 <= stamped.wall_us <= until_ms * 1000
    )
    return max((_late_us(stamped, deliveries) for stamped in received), default=0)


def _late_us(stamped: Stamped, deliveries: dict[_Address, tuple[Key, FateRow]]) -> int:
    event = stamped.event
    assert isinstance(event, MessageReceived)
    due_us = _due_us(deliveries.get((event.sender, event.sender_incarnation, event.sequence)), event.copy)
    return ms_of(event.entry) * 1000 - due_us if due_us else 0


def _due_us(delivery: tuple[Key, FateRow] | None, copy: int) -> int:
    """When a copy was due (server's clock); 0 when that is not known."""
    if delivery is None or not 0 <= copy < len(delivery[1].deliveries):
        return 0
    (_, sent_ms, _), row = delivery
    return sent_ms * 1000 + row.deliveries[copy]
