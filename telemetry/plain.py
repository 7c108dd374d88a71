"""Lines of plain text for people: progress, notable events, the result. Pure: values in, lines out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from telemetry.events import RobotBorn, Stamped, event_name
from telemetry.view import View

Result = Mapping[str, Any]
_MOST_DETAIL: Final = 120  # characters of an event's own fields in a line


def progress_line(view: View, elapsed_s: float) -> str:
    """Where the run stands."""
    if view.started_us is None:
        return f"{elapsed_s:6.1f}s  born {view.born}/{view.dealt}"
    loss = f"  lost {view.lost / view.offered:.0%}" if view.offered else ""
    written = f"  written by {view.writer}" if view.writer else ""
    return (
        f"{elapsed_s:6.1f}s  parts {view.share:.0%}  complete {view.complete}/{view.dealt}"
        f"  envelopes {view.offered}{loss}{written}"
    )


def is_notable(stamped: Stamped) -> bool:
    """Whether a person should be told at once: what is notable by its kind, and every life after the first."""
    return stamped.event.notable or (isinstance(stamped.event, RobotBorn) and stamped.incarnation > 1)


def event_line(stamped: Stamped, elapsed_s: float) -> str:
    """A notable event."""
    fields = msgspec.to_builtins(stamped.event)
    fields.pop("name")
    detail = " ".join(f"{name} {_shown(value)}" for name, value in fields.items())
    life = f"/{stamped.incarnation}" if stamped.incarnation > 1 else ""
    return f"{elapsed_s:6.1f}s  {stamped.source}{life} {event_name(stamped.event)} {detail[:_MOST_DETAIL]}".rstrip()


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def verdict_lines(result: Result) -> Iterator[str]:
    """The verdict, with one line per promise and the main figures."""
    yield f"{result['verdict']}  run {result['run']}  {_headline(result)}"
    width = max(map(len, result["promises"]), default=0)
    for name, finding in result["promises"].items():
        yield f"  {finding['state']:<8}  {name:<{width}}  {finding['why']}"
    yield from _figures(result)


def _headline(result: Result) -> str:
    if result["winner"] is None:
        return f"nothing was written (ended: {result['ended'] or 'never, or not yet'})"
    life = result["winner_incarnation"]
    return f"{result['winner']} (life {life}) wrote the secret {_seconds(result, 'written')} after go"


def _seconds(result: Result, name: str) -> str:
    value = result["seconds"][name]
    return "-" if value is None else f"{value:.2f} s"


def _figures(result: Result) -> Iterator[str]:
    messages = result["messages"]
    yield (
        f"  born {_seconds(result, 'born')}  first complete {_seconds(result, 'first_complete')}"
        f"  all complete {_seconds(result, 'all_complete')}  total {_seconds(result, 'total')}"
    )
    yield (
        f"  until all were complete: envelopes {messages['sent']} ({messages['per_robot']} a robot),"
        f" lost {messages['lost']}, duplicated {messages['duplicated']}, delayed {messages['delayed']},"
        f" reordered {messages['reordered']}"
    )
    if result["restarts"]:
        yield f"  restarts {result['restarts']}"
    for fault in result["faults"]:
        rate = "-" if fault["rate"] is None else f"{fault['rate']:.1%}"
        yield f"  whole run: {fault['name']} {fault['set']} acted on {fault['injected']} of {fault['offered']} ({rate})"
    yield f"  record {result['record']}"
    yield f"  again: {result['again']}"
