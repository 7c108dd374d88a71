"""The result of one check, and the exit code that all of them make. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from deploy.errors import ENVIRONMENT

UNKNOWN_CODE: Final = 3  # as a verdict's UNPROVEN: nothing is known to be wrong, and not everything is known

State = Literal["ok", "warning", "fault", "unknown"]


class Check(msgspec.Struct, frozen=True):
    """What was checked (`name`), and what was found (`text`). `warning`: a run works, but something is missing or may
    go wrong. `fault`: it stops a run. `unknown`: it could not be checked, and may stop a run. `remedy` says how to mend
    what is not ok."""

    name: str
    state: State
    text: str
    remedy: str = ""


def exit_code(checks: Iterable[Check]) -> int:
    """0 when nothing stops a run, 3 when something that may do so is unknown, 4 when something does."""
    states = {check.state for check in checks}
    if "fault" in states:
        return ENVIRONMENT
    return UNKNOWN_CODE if "unknown" in states else 0


def size(octets: float) -> str:
    """A size for people."""
    for unit in ("KiB", "MiB"):
        octets /= 1024
        if octets < 1024:
            return f"{octets:.0f} {unit}"
    return f"{octets / 1024:.1f} GiB"
