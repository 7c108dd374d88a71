"""Once: at most one write was accepted. Judged by the register and birth streams; events can only convict.

A write has the greatest id there is, so that nothing can follow it. With any other id it is BROKEN: only luck kept a
second one out. An entry that no robot wrote, and that did not take the write's place, is UNPROVEN: its client is not
known.
"""

from __future__ import annotations

from collections.abc import Iterator

from telemetry.events import SecretRefused, SecretWritten
from telemetry.verdict.case import Case
from telemetry.verdict.checks.membership import missing_evidence
from telemetry.verdict.evidence.journals import Life
from telemetry.verdict.evidence.schema import WRITE_ID, AcceptedWrite
from telemetry.verdict.finding import Finding, broken, held, unproven, worst


def once(case: Case) -> Finding:
    """At most one write was accepted; every other attempt was refused."""
    register = case.register
    if not register.exists:
        return unproven("the register is gone: what was written into it cannot be known")
    write = case.written
    if write is None:
        if case.tries:
            return unproven("a write was attempted, and the register is empty all the same")
        doubts = (*_strangers(case), *_attempts_without_entry(case))
        return worst(doubts, otherwise=held("nothing was written", 0))
    writer = (write.robot, write.incarnation)
    refused = len(case.tries - {writer})

    def findings() -> Iterator[Finding]:
        yield from _writes(case, write)
        yield from _strangers(case)
        yield from _other_claims(case, writer)
        yield from _attempts_without_entry(case)
        yield from missing_evidence(case)

    return worst(
        findings(),
        otherwise=held(f"{writer[0]} wrote it; attempts of others that were refused: {refused}", len(case.tries)),
    )


def _writes(case: Case, write: AcceptedWrite) -> Iterator[Finding]:
    """The register holds one write, where nothing can follow it, and its writer attempted it."""
    for other in case.robots_writes:
        if other is not write:
            yield broken(
                f"{write.robot}/{write.incarnation} wrote it, and a write of {other.robot}/{other.incarnation} was "
                "accepted too",
                f"register, entries {write.id} and {other.id}",
            )
    if write.id != WRITE_ID:
        yield broken("the write does not have the greatest id, so that another could follow", f"register, {write.id}")
    if not case.attempts:
        yield broken(
            "the register holds a write, and its writer's birth stream has no attempt for it",
            f"birth stream of {write.robot}, life {write.incarnation}",
        )


def _strangers(case: Case) -> Iterator[Finding]:
    """Entries of the register that no robot of the run wrote, beside the write."""
    for entry in case.register.writes:
        if entry not in case.robots_writes and entry is not case.written:
            yield unproven(f"entry {entry.id} of the register was written by no robot of the run")


def _other_claims(case: Case, writer: Life) -> Iterator[Finding]:
    """Events of other lives that report an accepted write."""
    if "events" in case.damage:
        return
    for stamped in case.events:
        claimant = (stamped.source, stamped.incarnation)
        if isinstance(stamped.event, SecretWritten) and claimant != writer:
            yield broken(
                f"{writer[0]}/{writer[1]} wrote it, and the write of {claimant[0]}/{claimant[1]} was accepted too",
                f"event {stamped.number} of {claimant[0]}/{claimant[1]}",
            )


def _attempts_without_entry(case: Case) -> Iterator[Finding]:
    """Lives that reported the result of a write, without an attempt in their birth stream."""
    for stamped in [] if "events" in case.damage else case.events:
        life = (stamped.source, stamped.incarnation)
        if isinstance(stamped.event, SecretWritten | SecretRefused) and life not in case.tries:
            yield unproven(f"{life[0]}/{life[1]} reports that it tried to write, and its birth stream has no attempt")
