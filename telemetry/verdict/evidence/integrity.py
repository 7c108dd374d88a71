"""What a record cannot show: files that were changed after the recording, and evidence that a lost run has not.

A changed file is found by its SHA-256 in the manifest; its content means nothing for that. A run is lost when its
server came back older, as an event reports, or without it. Empty files of its record are gone and convict nothing. A
file that is not empty may have been begun anew by a process that had not noticed yet: orders without the deal, fates
without a plan. Judges nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from telemetry.events import ServerForgot
from telemetry.record.folder import EVIDENCE
from telemetry.verdict.evidence.schema import LostRow, PlanRow, RegisterFile

LOST: Final = "the run was lost: the server came back"

_FORGOTTEN: Final = {
    "events": "events that it had read or stored",
    "envelopes": "envelopes in its outbox",
    "entries": "entries of its journal",
    "birth": "its birth, or its attempt to write",
    "fates": "fates that it had decided",
    "orders": "an order, a plan change or a row of the fleet log",
}

_WHAT: Final = {
    "plan": "its plan",
    "fates": "its fates",
    "journals": "its journals",
    "fleet": "its injections and deaths",
    "register": "its register",
    "streams": "its orders",
}
"""What each file holds that the server held."""


def tampering(folder: Path) -> str:
    """The first file that is not as it was recorded, as a reason; empty when all are."""
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


def loss(contents: Mapping[str, Any]) -> str:
    """How the server lost data of the run; empty when nothing shows that it did."""
    for stamped in contents.get("events", ()):
        if isinstance(stamped.event, ServerForgot):
            return f"{LOST} older: {stamped.source} missed {_FORGOTTEN[stamped.event.what]}"
    settings = contents.get("settings")
    return f"{LOST} without it" if settings is not None and settings.ended == "lost" else ""


def lost_evidence(contents: Mapping[str, Any]) -> dict[str, str]:
    """By file (without suffix), why its content is gone from the record of a lost run. Empty for any other run."""
    how = loss(contents)
    gone = [name for name in _WHAT if how and name in contents and _is_gone(name, contents)]
    return {name: f"{LOST} without {_WHAT[name]}" if how == f"{LOST} without it" else how for name in gone}


def _is_gone(name: str, contents: Mapping[str, Any]) -> bool:
    content = contents[name]
    match name:
        case "plan":
            planned = {row.shard for row in content if isinstance(row, PlanRow)}
            return not planned or not planned >= _shards(contents)
        case "journals":
            return all(isinstance(row, LostRow) for row in content)
        case "register":
            return not content.exists or _knows_no_writer(content)
        case "streams":
            return all(order.order != "dealt" for order in content.orders)
    return not content


def _shards(contents: Mapping[str, Any]) -> set[int]:
    """The outboxes of the run, by stream counters and fates."""
    counted = contents["streams"].outboxes if "streams" in contents else {}
    return {*counted, *(row.shard for row in contents.get("fates", ()))}


def _knows_no_writer(register: RegisterFile) -> bool:
    """Whether it holds a write whose writer's birth stream is empty."""
    return any(not register.births.get(write.robot) for write in register.writes)
