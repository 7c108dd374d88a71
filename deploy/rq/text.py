"""What RQ keeps, as text. Anybody may write to the server, so anything may stand there: reading it must never raise.

These are RQ's own functions without their errors; no file of this room reads text from RQ in another way.
"""

from __future__ import annotations

import re
from typing import Final

_LEASE: Final = re.compile(r"([A-Za-z0-9_-]+):([A-Za-z0-9_-]+)")


def as_text(stored: bytes | str) -> str:
    """The text in a key, a member or a field. Bytes that are no UTF-8 become escapes such as `\\xff`, which stand in no
    name of ours."""
    return stored.decode(errors="backslashreplace") if isinstance(stored, bytes) else stored


def parse_composite_key(lease: str) -> tuple[str, str]:
    """The job and the execution in a lease; both are empty when it is no lease."""
    found = _LEASE.fullmatch(lease)
    return (found[1], found[2]) if found else ("", "")
