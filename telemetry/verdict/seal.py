"""Whether a record is as it was recorded: each evidence file against its SHA-256 in the manifest.

What the files say means nothing here.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from telemetry.record import EVIDENCE


def tampering(folder: Path) -> str:
    """Which file is not as it was recorded; empty when all are."""
    try:
        manifest = msgspec.json.decode((folder / "manifest.json").read_bytes(), type=dict[str, str])
    except FileNotFoundError:
        return "manifest.json is missing: nothing shows that the record is as it was recorded"
    except (OSError, msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        return f"manifest.json is not as it was recorded: {error}"
    if foreign := sorted(manifest.keys() - set(EVIDENCE)):
        return f"manifest.json is not as it was recorded: {foreign[0]!r} is no evidence"
    changed = (name for name in EVIDENCE if _sha256(folder / name) != manifest.get(name))
    return next((f"{name} is not as it was recorded" for name in changed), "")


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
