"""Fenced: an older life has no effect after its successor's birth. Judged by fates, journals and register.

Events are no evidence here. Where an older life must have no effect:

* In the outbox, where the relay sees it: no envelope of it that stands after the birth of a later life was delivered,
  not even damaged. What stands before that birth may still arrive.
* In the journal: no entry of it stands after a later life's.
* In the register: the accepted write was attempted before a later life stood in the writer's birth stream. An attempt
  that was refused took no effect.

A life that sent something, and whose birth is not in its outbox, fenced no older life: then this is UNPROVEN.
"""

from __future__ import annotations

from collections.abc import Iterator

from telemetry.verdict.case import Case
from telemetry.verdict.checks.membership import births_not_in_outboxes, missing_evidence
from telemetry.verdict.evidence.births import fences_of
from telemetry.verdict.evidence.journals import RobotJournal
from telemetry.verdict.evidence.schema import FateRow
from telemetry.verdict.evidence.traffic import Key, place_of
from telemetry.verdict.finding import Finding, broken, held, unproven, worst


def fenced(case: Case) -> Finding:
    """No action of an older life after its successor's birth took effect."""

    def findings() -> Iterator[Finding]:
        yield from _envelopes(case)
        for journal in case.journals.values():
            yield from _entries(journal)
        yield from _write(case)
        yield from births_not_in_outboxes(case)
        yield from missing_evidence(case)

    later = sum(max(0, len(journal.lives) - 1) for journal in case.journals.values())
    stale = sum(row.fate == "stale" for row in case.traffic.entries.values())
    why = f"lives after a robot's first: {later}; stale envelopes of older ones: {stale}"
    return worst(findings(), otherwise=held(why, later))


def _envelopes(case: Case) -> Iterator[Finding]:
    fences = fences_of(case.plan)
    for key, row in _fates(case):
        if not row.deliveries or row.sender is None or row.incarnation is None:
            continue
        fence = fences.get((row.shard, row.sender))
        if fence is not None and fence.is_stale(row.incarnation, key):
            yield broken(
                f"an envelope of {row.sender}/{row.incarnation} came to {row.receiver}, although it was sent after "
                f"the birth of {row.sender}/{fence.successor(row.incarnation, key)}",
                place_of(key),
            )


def _fates(case: Case) -> Iterator[tuple[Key, FateRow]]:
    """Every record of every envelope."""
    for key, row in case.traffic.envelopes():
        yield key, row
        for other in case.traffic.unequal.get(key, ()):
            yield key, other


def _entries(journal: RobotJournal) -> Iterator[Finding]:
    latest = 0
    for incarnation, number, _ in journal.entries:
        if incarnation < latest:
            yield broken(
                f"{journal.robot}/{incarnation} journalled something after the birth of {journal.robot}/{latest}",
                journal.witness(incarnation, number),
            )
        latest = max(latest, incarnation)


def _write(case: Case) -> Iterator[Finding]:
    register = case.register
    if not register.exists:
        yield unproven("the register is gone: its writer cannot be known")
    if case.written is None:
        return
    write, latest = case.written, 0
    for row in register.births.get(write.robot, ()):
        if row.entry == "born":
            latest = max(latest, int(row.id.partition("-")[0]))
        elif row in case.attempts and latest <= write.incarnation:
            return
    if latest > write.incarnation:
        yield broken(
            f"{write.robot}/{write.incarnation} wrote the secret, and nothing shows that it did so before "
            f"{write.robot}/{latest} was born",
            f"birth stream of {write.robot}",
        )
