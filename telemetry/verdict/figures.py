"""The result's numbers, computed from one case. They judge nothing; a number that the record does not give is None."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import TypeVar

import msgspec

from telemetry.events import WorkerRestarted
from telemetry.verdict.case import Case
from telemetry.verdict.checks.fault_rates import fault_rates
from telemetry.verdict.evidence.journals import RobotJournal
from telemetry.verdict.evidence.schema import FateRow
from telemetry.verdict.finding import EvidenceError, State
from telemetry.verdict.recomputed.fates import Ruling
from telemetry.verdict.recomputed.fault_rules import Rule

ENVELOPE_BYTES = 48
"""The size of an envelope without its body, in the model of notes and benchmarks."""

T = TypeVar("T")


class Seconds(msgspec.Struct, frozen=True):
    """`born` and `total` since the command's start, the others since the order `go`."""

    born: float | None
    first_complete: float | None
    written: float | None
    all_complete: float | None
    total: float | None


class Rounds(msgspec.Struct, frozen=True):
    """In ticks since `go`."""

    first_complete: float | None
    all_complete: float | None


class Messages(msgspec.Struct, frozen=True):
    """Envelopes sent from `go` until all robots were complete (or the end), by their fates.

    `delivered`: a copy came undamaged; `reordered`: any copy was put back; `refused`: entries of the whole run that
    were no envelopes.
    """

    sent: int | None = None
    delivered: int | None = None
    lost: int | None = None
    duplicated: int | None = None
    delayed: int | None = None
    reordered: int | None = None
    corrupted: int | None = None
    per_robot: float | None = None
    refused: int | None = None


class FaultFigure(msgspec.Struct, frozen=True):
    """One planned fault over the whole run, in envelopes (see checks/fault_rates.py).

    `rate` and `band` (the 95 % confidence interval) are fractions of the offered, to four digits.
    """

    name: str
    set: str
    offered: int
    injected: int
    rate: float | None
    band: tuple[float, float] | None
    state: State


class Repeated(msgspec.Struct, frozen=True):
    """What relays repeated after takeovers: entries decided again, and copies in inboxes beyond the decided ones."""

    redone: int
    copies: int


class Recoveries(msgspec.Struct, frozen=True):
    """How often a robot was born again after a death, and seconds from the first death to the birth in its outbox."""

    count: int
    p50_s: float | None
    max_s: float | None


class Times(msgspec.Struct, frozen=True):
    """Microseconds since the order `go`, None for what did not happen."""

    first_complete: int | None = None
    written: int | None = None
    all_complete: int | None = None


def known(figure: Callable[[], T]) -> T | None:
    """The figure, or None where the record does not give it."""
    try:
        return figure()
    except Exception:  # the promises report what is wrong with the record
        return None


def times(case: Case) -> Times:
    """When robots were complete and the secret was written. Raises EvidenceError."""
    go_ms = case.order_ms("go")
    if go_ms is None:
        raise EvidenceError("the order go was never given")
    completed = [_completed_us(case.journals.get(robot), go_ms * 1000) for robot in case.dealt_robots]
    there = [at_us for at_us in completed if at_us is not None]
    written_us = known(lambda: case.attempted_us)
    return Times(
        first_complete=min(there, default=None),
        written=None if written_us is None else max(0, written_us - go_ms * 1000),
        all_complete=max(there) if len(there) == len(completed) else None,
    )


def seconds(case: Case) -> Seconds:
    """The times in seconds."""
    since_start = known(lambda: case.settings.seconds)
    since_go = known(lambda: times(case)) or Times()
    return Seconds(
        born=since_start.born if since_start else None,
        first_complete=_seconds(since_go.first_complete),
        written=_seconds(since_go.written),
        all_complete=_seconds(since_go.all_complete),
        total=since_start.total if since_start else None,
    )


def rounds(case: Case) -> Rounds:
    """The times in ticks, the unit in which gossip is compared."""
    since_go = known(lambda: times(case)) or Times()
    tick_us = known(lambda: case.settings.tick_us)
    return Rounds(_rounds(since_go.first_complete, tick_us), _rounds(since_go.all_complete, tick_us))


def messages(case: Case) -> tuple[Messages, float, float]:
    """The envelopes, and the bytes per robot of the model and of the wire, until all were complete.
    Raises EvidenceError."""
    counted = _until_complete(case)
    robots = case.settings.robots
    rulings = [ruling for _, ruling in counted]
    rows = [row for row, _ in counted]
    sent = Messages(
        sent=len(rows),
        delivered=sum(row.fate == "delivered" for row in rows),
        lost=sum(row.fate == "lost" for row in rows),
        duplicated=sum(any(rule.name == "duplicate" for rule in ruling.acted) for ruling in rulings),
        delayed=sum(any(row.deliveries) for row in rows),
        reordered=sum(any(rule.name == "reorder" for rule in ruling.changed) for ruling in rulings),
        corrupted=sum(row.fate == "corrupt" for row in rows),
        per_robot=round(len(rows) / robots, 1),
        refused=sum(row.fate == "refused" for row in case.traffic.entries.values()),
    )
    model = sum(ENVELOPE_BYTES + row.body for row in rows)
    wire = sum(row.wire for row in rows)
    return sent, round(model / robots, 1), round(wire / robots, 1)


def faults(case: Case) -> list[FaultFigure]:
    """Each planned fault's numbers. Raises EvidenceError."""
    return [
        FaultFigure(
            name=fault.rule.name,
            set=_arguments(fault.rule),
            offered=fault.offered,
            injected=fault.injected,
            rate=fault.rate,
            band=fault.band,
            state=fault.state,
        )
        for fault in fault_rates(case)
    ]


def repeated(case: Case) -> Repeated:
    """What relays repeated after takeovers. Raises EvidenceError."""
    copies, contradictions = case.traffic.copies_by_receiver(), case.streams.contradictions
    surplus = (
        count.added - copies[robot] - contradictions.get(robot, 0) for robot, count in case.streams.inboxes.items()
    )
    return Repeated(len(case.traffic.redone), sum(max(0, more) for more in surplus))


def restarts(case: Case) -> int:
    """Workers that were restarted, and lives of a robot beyond its first. Raises EvidenceError."""
    workers = sum(isinstance(stamped.event, WorkerRestarted) for stamped in case.events)
    return workers + sum(max(0, len(journal.lives) - 1) for journal in case.journals.values())


def recoveries(case: Case) -> Recoveries:
    """The recoveries of robots. Raises EvidenceError."""
    away_ms = [
        max(0, downtime.birth.at_ms - downtime.deaths[0].at_ms)
        for downtime in case.downtimes
        if downtime.birth is not None
    ]
    if not away_ms:
        return Recoveries(0, None, None)
    return Recoveries(len(away_ms), round(median(away_ms) / 1000, 3), round(max(away_ms) / 1000, 3))


def lives(case: Case) -> dict[str, int]:
    """The number of lives of each robot with more than one. Raises EvidenceError."""
    journals = sorted(case.journals.items())
    return {robot: len(journal.lives) for robot, journal in journals if len(journal.lives) > 1}


def _completed_us(journal: RobotJournal | None, go_us: int) -> int | None:
    """When a robot was complete, in µs since `go`; 0 for one that was dealt everything."""
    if journal is None:
        return None
    if journal.dealt_everything:
        return 0
    return None if journal.completed_at_us is None else max(0, journal.completed_at_us - go_us)


def _until_complete(case: Case) -> list[tuple[FateRow, Ruling]]:
    """The envelopes sent from `go` until all robots were complete (or the end), with their recomputed fates."""
    go_ms = case.order_ms("go")
    if go_ms is None:
        raise EvidenceError("the order go was never given")
    all_complete_us = times(case).all_complete
    end_us = None if all_complete_us is None else go_ms * 1000 + all_complete_us
    return [
        (row, case.rulings[key])
        for key, row in case.traffic.envelopes()
        if go_ms <= key[1] and (end_us is None or key[1] * 1000 <= end_us)
    ]


def _arguments(rule: Rule) -> str:
    return rule.text.partition(" ")[2]


def _seconds(microseconds: int | None) -> float | None:
    return None if microseconds is None else round(microseconds / 1_000_000, 3)


def _rounds(microseconds: int | None, tick_us: int | None) -> float | None:
    return None if microseconds is None or tick_us is None else round(microseconds / tick_us, 1)
