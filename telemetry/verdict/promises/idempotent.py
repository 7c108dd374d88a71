"""Idempotent: a copy merged nothing if an earlier copy's merge was journalled. Judged by journals and fates."""

from __future__ import annotations

from collections.abc import Iterator

from telemetry.verdict.case import Case
from telemetry.verdict.checks.membership import missing_evidence
from telemetry.verdict.evidence.journals import PartEntry, RobotJournal
from telemetry.verdict.finding import Finding, broken, held, unproven, worst


def idempotent(case: Case) -> Finding:
    """A copy merged nothing if an earlier copy's merge was journalled; and every merged copy came undamaged."""

    def findings() -> Iterator[Finding]:
        for journal in case.journals.values():
            yield from _merged_again(journal)
        for journal in case.journals.values():
            yield from _undelivered(case, journal)
        yield from missing_evidence(case)

    merged = sum(part.row.cause is not None for journal in case.journals.values() for part in journal.parts)
    return worst(findings(), otherwise=held(f"{merged} parts were merged, each once and from a delivered copy", merged))


def _merged_again(journal: RobotJournal) -> Iterator[Finding]:
    first: dict[int, PartEntry] = {}
    for part in journal.parts:
        before = first.setdefault(part.row.index, part)
        if before is part:
            continue
        if before.row.cause is not None and part.row.cause is not None and before.row.cause[:3] == part.row.cause[:3]:
            how = f"copy {part.row.cause[3]} merged part {part.row.index}, which copy {before.row.cause[3]} had merged"
        else:
            how = f"part {part.row.index} was merged although it was known since {before.place}"
        yield broken(how, journal.witness(part.incarnation, part.number), lasting=True)


def _undelivered(case: Case, journal: RobotJournal) -> Iterator[Finding]:
    """Parts that came with no copy that the fates show as delivered to this robot, undamaged."""
    copies = case.traffic.readable_copies
    for part in journal.parts:
        if part.incarnation == 0:
            continue
        witness = journal.witness(part.incarnation, part.number)
        if part.row.cause is None:
            yield broken(f"part {part.row.index} was merged, and its entry names no copy", witness)
            continue
        sender, incarnation, sequence, copy = part.row.cause
        delivered = copies.get((sender, incarnation, journal.robot, sequence))
        what = f"envelope {sequence} of {sender}/{incarnation}"
        if delivered is None and not _was_finished(case, case.shards.get(sender)):
            yield unproven(f"the fate of {what} to {journal.robot} is not recorded")
        elif not 0 <= copy < (delivered or 0):
            yield broken(f"part {part.row.index} came with copy {copy} of {what}, which never came undamaged", witness)


def _was_finished(case: Case, shard: int | None) -> bool:
    """Whether all fates of a shard must be in the record."""
    return case.ended_in_order and shard not in case.abandoned_shards
