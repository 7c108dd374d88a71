"""What all drivers of a relay share: how much one takes at once, and the points which it passes in its work.

No work is done here; a driver tells where it is, and whoever wants to know injects a `Passing`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

BATCH: Final = 256  # entries of an outbox in one read
NEVER_US: Final = 1 << 62  # later than anything is due: what is put out by then is put out at once

Passing = Callable[[str], None]
"""Told where a relay is: `taken` (entries read, nothing written), `noted` (control entries copied), `put-out` (fates
and copies stored, not acknowledged), `acked`, `holding` (copies held, none due). A test may let it die there."""


def pass_by(_point: str) -> None:
    """What happens at every point, unless somebody wants something else: nothing."""
