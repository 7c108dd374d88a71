"""The result of a check: HELD, BROKEN with a witness, or UNPROVEN with the reason. Nothing here reads a record."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec.structs import replace

State = Literal["HELD", "BROKEN", "UNPROVEN"]


class EvidenceError(Exception):
    """Evidence is missing, damaged or unknown to this judge; the message names it and the reason."""


class Finding(msgspec.Struct, frozen=True):
    """One promise's state, with the reason as text. `witness` names the place in the record when it is BROKEN. It is
    `lasting` when it rests only on what stands there: whatever a server forgot, it convicts.

    `tested`: how many things put the promise to the test (each promise tells which); 0 when nothing did, or when it is
    not known."""

    state: State
    why: str
    witness: str = ""
    lasting: bool = False
    tested: int = 0

    @property
    def text(self) -> str:
        """The reason, with its witness."""
        return f"{self.why} (witness: {self.witness})" if self.witness else self.why


def held(why: str, tested: int) -> Finding:
    """The promise was kept, by all of the `tested` things that put it to the test."""
    return Finding("HELD", why, tested=tested)


def broken(why: str, witness: str, lasting: bool = False) -> Finding:
    """The promise was not kept, as `witness` shows."""
    return Finding("BROKEN", why, witness, lasting)


def unproven(why: str) -> Finding:
    """The evidence does not suffice."""
    return Finding("UNPROVEN", why)


def worst(findings: Iterable[Finding], otherwise: Finding) -> Finding:
    """The first BROKEN of `findings`, else the first UNPROVEN, else `otherwise`, tested as often as `otherwise`. Stops
    at the first BROKEN."""
    doubt = None
    for finding in findings:
        if finding.state == "BROKEN":
            return replace(finding, tested=otherwise.tested)
        if finding.state == "UNPROVEN":
            doubt = doubt or replace(finding, tested=otherwise.tested)
    return doubt or otherwise
