"""An event as one line, for a person: when it was, whose it is, its name and its fields. Pure.

What stands in an event may come from outside: nothing here reaches a terminal unless it can be printed.
"""

from __future__ import annotations

from datetime import UTC, datetime

from telemetry.console import printable
from telemetry.events import Stamped, event_name
from telemetry.tail.filter import shown_value


def tail_line(stamped: Stamped, go_us: int | None) -> str:
    """The event. Its time is in seconds after `go_us`, or the time of day (UTC) while it is not known when `go` was
    given; fields that say nothing are left out."""
    life = f"/{stamped.incarnation}" if stamped.incarnation > 1 else ""
    head = f"{_when(stamped.wall_us, go_us)}  {printable(stamped.source + life):<8}  {event_name(stamped.event):<18}"
    return f"{head}  {'  '.join(_fields(stamped))}".rstrip()


def missed_line(missed: int) -> str:
    """How many events never came here."""
    return f"{missed} events are missing: their source's buffer overflowed, or they were removed before they were read"


def _when(wall_us: int, go_us: int | None) -> str:
    if go_us is None:
        return datetime.fromtimestamp(wall_us // 1_000_000, UTC).strftime("%H:%M:%S") + f".{wall_us // 1000 % 1000:03}"
    return f"{(wall_us - go_us) / 1e6:12.6f}"


def _fields(stamped: Stamped) -> list[str]:
    """As a filter has them: `peer=r05`."""
    event = stamped.event
    fields = [(name, shown_value(getattr(event, name))) for name in event.__struct_fields__]
    return [f"{name}={_quoted(text)}" for name, text in fields if text]


def _quoted(text: str) -> str:
    shown = printable(text)
    return f'"{shown}"' if " " in shown else shown
