"""What a run cannot show any more because its server came back without it. Judges nothing.

Such a run says so itself: it ended lost. What is empty in its record is gone, and convicts nobody. What is not empty
may have been begun anew by somebody who had not noticed yet: orders without the deal, fates without a plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from telemetry.verdict.rows import LostRow, PlanRow, Register

LOST: Final = "the run was lost: the server came back without"

_WHAT: Final = {
    "plan": "its plan",
    "fates": "its fates",
    "journals": "its journals",
    "fleet": "its deeds and deaths",
    "register": "its register",
    "streams": "its orders",
}
"""What each file holds that a server held."""


def losses(contents: Mapping[str, Any]) -> dict[str, str]:
    """By file (without suffix), what the record of a lost run does not tell. Empty for any other run."""
    settings = contents.get("settings")
    if settings is None or settings.ended != "lost":
        return {}
    return {name: f"{LOST} {what}" for name, what in _WHAT.items() if name in contents and _is_gone(name, contents)}


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
    """The outboxes that the run had, as far as others than its plan tell."""
    counted = contents["streams"].outboxes if "streams" in contents else {}
    return {*counted, *(row.shard for row in contents.get("fates", ()))}


def _knows_no_writer(register: Register) -> bool:
    """Whether a write stands there, and nothing in its writer's birth stream."""
    return register.write is not None and not register.births.get(register.write.robot)
