"""Right: the written secret equals the dealt one, byte for byte. Judged by register, deal and secret.txt."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from telemetry.verdict.case import Case
from telemetry.verdict.finding import Finding, broken, held, unproven, worst


def right(case: Case) -> Finding:
    """The written secret equals the dealt one, byte for byte."""
    register, deal = case.register, case.deal
    if not register.exists:
        return unproven("the register is gone: what was written into it cannot be known")
    if case.written is None:
        return unproven("nothing was written")
    written = case.written.text.encode()
    witness = f"register, written by {case.written.robot}/{case.written.incarnation}"
    if len(written) != deal.bytes:
        return broken(f"{len(written)} bytes were written, {deal.bytes} were dealt", witness, lasting=True)
    if hashlib.sha256(written).hexdigest() != deal.sha256:
        return broken("what was written is not what was dealt: their SHA-256 differ", witness, lasting=True)
    return worst(_copy(case.secret, written), otherwise=held(f"{len(written)} bytes, the SHA-256 of the deal", 1))


def _copy(secret: bytes | None, written: bytes) -> Iterator[Finding]:
    """secret.txt must be what the register holds."""
    if secret is None:
        yield unproven("secret.txt is missing, although a secret was written")
    elif secret != written and written.startswith(secret):
        yield unproven(f"secret.txt is cut short: {len(secret)} of {len(written)} bytes")
    elif secret != written:
        pairs = zip(secret, written, strict=False)
        place = next((place for place, (left, right_) in enumerate(pairs) if left != right_), len(written))
        yield broken("secret.txt is not what the register holds", f"secret.txt, byte {place}", lasting=True)
