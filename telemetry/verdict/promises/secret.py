"""Promises about what was written: once, and right. Judged by the register; a robot's word can only convict."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from telemetry.events import SecretRefused, SecretWritten
from telemetry.verdict.case import Case
from telemetry.verdict.finding import Finding, broken, held, unproven, worst
from telemetry.verdict.journals import Life
from telemetry.verdict.roster import absences


def once(case: Case) -> Finding:
    """At most one write was accepted; every other attempt was refused."""
    register = case.register
    if not register.exists:
        return unproven("the register is gone: what was written into it cannot be known")
    if register.write is None:
        if case.tries:
            return unproven("a write was attempted, and the register is empty all the same")
        return worst(_untold_tries(case), otherwise=held("nothing was written"))
    writer = (register.write.robot, register.write.incarnation)
    refused = len(case.tries - {writer})
    if not case.attempts:
        return broken(
            "the register holds a write of which its writer's birth stream knows no attempt",
            f"birth stream of {writer[0]}, life {writer[1]}",
        )

    def findings() -> Iterator[Finding]:
        yield from _other_claims(case, writer)
        yield from _untold_tries(case)
        yield from absences(case)

    return worst(
        findings(),
        otherwise=held(f"{writer[0]} wrote it; attempts of others that were refused: {refused}"),
    )


def right(case: Case) -> Finding:
    """What was written equals the dealt secret, byte for byte."""
    register, deal = case.register, case.deal
    if not register.exists:
        return unproven("the register is gone: what was written into it cannot be known")
    if register.write is None:
        return unproven("nothing was written")
    written = register.write.text.encode()
    witness = f"register, written by {register.write.robot}/{register.write.incarnation}"
    if len(written) != deal.bytes:
        return broken(f"{len(written)} bytes were written, {deal.bytes} were dealt", witness)
    if hashlib.sha256(written).hexdigest() != deal.sha256:
        return broken("what was written is not what was dealt: their SHA-256 differ", witness)
    return worst(_copy(case.secret, written), otherwise=held(f"{len(written)} bytes, the SHA-256 of the deal"))


def _other_claims(case: Case, writer: Life) -> Iterator[Finding]:
    """Nobody else may have been told that its write was accepted."""
    if "events" in case.damage:
        return
    for stamped in case.events:
        claimant = (stamped.source, stamped.incarnation)
        if isinstance(stamped.event, SecretWritten) and claimant != writer:
            yield broken(
                f"{writer[0]}/{writer[1]} wrote it, and the write of {claimant[0]}/{claimant[1]} was accepted too",
                f"event {stamped.number} of {claimant[0]}/{claimant[1]}",
            )


def _untold_tries(case: Case) -> Iterator[Finding]:
    """Whoever was told what came of its write has an attempt in its birth stream."""
    for stamped in [] if "events" in case.damage else case.events:
        life = (stamped.source, stamped.incarnation)
        if isinstance(stamped.event, SecretWritten | SecretRefused) and life not in case.tries:
            yield unproven(f"{life[0]}/{life[1]} says that it tried to write, and its birth stream knows no attempt")


def _copy(secret: bytes | None, written: bytes) -> Iterator[Finding]:
    """secret.txt must be what the register holds."""
    if secret is None:
        yield unproven("secret.txt is missing, although a secret was written")
    elif secret != written and written.startswith(secret):
        yield unproven(f"secret.txt is cut short: {len(secret)} of {len(written)} bytes")
    elif secret != written:
        pairs = zip(secret, written, strict=False)
        place = next((place for place, (left, right_) in enumerate(pairs) if left != right_), len(written))
        yield broken("secret.txt is not what the register holds", f"secret.txt, byte {place}")
