"""Once: at most one write was accepted. Judged by the register and birth streams; events can only convict."""

from __future__ import annotations

from collections.abc import Iterator

from telemetry.events import SecretRefused, SecretWritten
from telemetry.verdict.case import Case
from telemetry.verdict.checks.membership import missing_evidence
from telemetry.verdict.evidence.journals import Life
from telemetry.verdict.finding import Finding, broken, held, unproven, worst


def once(case: Case) -> Finding:
    """At most one write was accepted; every other attempt was refused."""
    register = case.register
    if not register.exists:
        return unproven("the register is gone: what was written into it cannot be known")
    if register.write is None:
        if case.tries:
            return unproven("a write was attempted, and the register is empty all the same")
        return worst(_attempts_without_entry(case), otherwise=held("nothing was written", 0))
    writer = (register.write.robot, register.write.incarnation)
    refused = len(case.tries - {writer})
    if not case.attempts:
        return broken(
            "the register holds a write, and its writer's birth stream has no attempt for it",
            f"birth stream of {writer[0]}, life {writer[1]}",
        )

    def findings() -> Iterator[Finding]:
        yield from _other_claims(case, writer)
        yield from _attempts_without_entry(case)
        yield from missing_evidence(case)

    return worst(
        findings(),
        otherwise=held(f"{writer[0]} wrote it; attempts of others that were refused: {refused}", len(case.tries)),
    )


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
